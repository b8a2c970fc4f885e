"""How exact products of float32 have to be: one choice for the whole process."""

_tf32 = False


def tf32() -> bool:
    """Whether their factors may be rounded to TF32, of which tensor cores compute products."""
    return _tf32


def choose(allowed: bool) -> None:
    """Choose, from the next call of a kernel on."""
    global _tf32
    _tf32 = allowed
