"""The arithmetic of windows that slide over an axis.

Plain functions of integers: Python calls them as they are, and the kernels compile them.
Along one axis, tap t of the window at position i covers element i * stride - padding + t * dilation.
"""

import math


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> int:
    """Count the positions of a window along one axis.

    With `ceil_mode` a last window may reach past the padded end, but it starts inside the axis or its leading
    padding: PyTorch's rule. A result below 1 means that the window does not fit.

    >>> output_size(5, kernel=2, stride=2, padding=0, dilation=1)
    2
    >>> output_size(5, kernel=2, stride=2, padding=0, dilation=1, ceil_mode=True)
    3
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def inside(count: int, start: int, step: int, size: int) -> tuple[int, int]:
    """Find the i of range(count), as (first, stop), for which start + i * step lies in an axis of `size`.

    It answers both questions about windows: at which positions a tap is inside the axis
    (start = tap * dilation - padding, step = stride), and which taps of a position are inside
    (start = position * stride - padding, step = dilation).

    >>> inside(4, start=-3, step=2, size=3)  # elements -3, -1, 1, 3
    (2, 3)
    """
    first = min(max(0, -(start // step)), count)
    stop = min(count, (size - 1 - start) // step + 1)
    return first, max(first, stop)


def averaged(position: int, size: int, kernel: int, stride: int, padding: int, count_include_pad: bool) -> int:
    """Count the elements that an average pool divides by, along one axis.

    The padding counts if `count_include_pad`; what `ceil_mode` adds beyond it never does: PyTorch's rule.

    >>> [averaged(i, size=5, kernel=2, stride=2, padding=0, count_include_pad=True) for i in range(3)]
    [2, 2, 1]
    """
    start = position * stride - padding
    stop = min(start + kernel, size + padding)
    return stop - start if count_include_pad else min(stop, size) - max(start, 0)


def adjoint_taps(residue: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[int, int, int, int]:
    """Describe the gradient at the elements residue, residue + stride, ... of an axis as a convolution.

    Those elements meet only the taps first, first + step, ... of the window. Reversed, these taps slide over the
    gradient of the output with stride 1, and a dilation and padding of their own.

    Returns
    -------
    first, step, padding, dilation
        `first` is `kernel` or more where no tap meets the elements. The padding may be negative.

    Examples
    --------
    >>> adjoint_taps(0, kernel=3, stride=1, padding=1, dilation=1)
    (0, 1, 1, 1)
    >>> [adjoint_taps(residue, kernel=3, stride=2, padding=1, dilation=1) for residue in (0, 1)]
    [(1, 2, 0, 1), (0, 2, 0, 1)]
    """
    shift, phase = divmod(residue + padding, stride)
    first = 0
    while first < kernel and (first * dilation - phase) % stride:
        first += 1
    step = stride // math.gcd(stride, dilation)
    spread = step * dilation // stride
    reach = (kernel - 1 - first) // step * spread
    return first, step, (first * dilation - phase) // stride + reach - shift, spread
