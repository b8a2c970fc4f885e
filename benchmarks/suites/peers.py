"""Other libraries' sides of the overhead rows and of SimpleNet; each takes part where it is installed."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.row import Step, labels, normal

Function = Callable[[Any], Any]
PACKAGES = ("mygrad", "autograd", "tinygrad", "jax")


def functions(f: Function) -> Mapping[str, Callable[[], Step]]:
    """A function of eight elements, with a graph where the library has one."""

    def mygrad() -> Step:
        import mygrad

        x = mygrad.tensor(normal(8))
        return lambda: f(x)

    def tinygrad() -> Step:
        from tinygrad import Tensor

        x = Tensor(normal(8)).realize()
        return lambda: f(x).realize()

    def jax() -> Step:
        import jax

        x = jax.numpy.asarray(normal(8))
        return lambda: f(x).block_until_ready()

    return {"mygrad": mygrad, "tinygrad": tinygrad, "jax": jax}


def gradients(f: Function) -> Mapping[str, Callable[[], Step]]:
    """Forward and backward of a function of eight elements, summed."""

    def mygrad() -> Step:
        import mygrad

        x = mygrad.tensor(normal(8))
        return lambda: f(x).sum().backward()

    def autograd() -> Step:
        from autograd import grad, numpy

        gradient, x = grad(lambda x: numpy.sum(f(x))), normal(8)
        return lambda: gradient(x)

    def tinygrad() -> Step:
        from tinygrad import Tensor

        def step() -> None:
            x = Tensor(normal(8))
            f(x).sum().backward()
            x.grad.realize()

        return step

    def jax() -> Step:
        import jax

        gradient, x = jax.grad(lambda x: f(x).sum()), jax.numpy.asarray(normal(8))
        return lambda: gradient(x).block_until_ready()

    return {"mygrad": mygrad, "autograd": autograd, "tinygrad": tinygrad, "jax": jax}


SHAPES = ((10, 1, 5, 5), (10,), (20, 10, 5, 5), (20,), (500, 100), (100,), (100, 15), (15,))


def _simplenet_jax() -> Step:
    """The whole step is one compiled function, as its users write it."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    def conv(x: Any, weight: Any, bias: Any) -> Any:
        return lax.conv(x, weight, (1, 1), "VALID") + bias[:, None, None]

    def pool(x: Any) -> Any:
        return jax.nn.relu(lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 3), (1, 1, 3, 3), "VALID"))

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        w1, b1, w2, b2, w3, b3, w4, b4 = parameters
        hidden = pool(conv(pool(conv(x, w1, b1)), w2, b2)).reshape(len(x), -1)
        logits = (hidden @ w3 + b3) @ w4 + b4
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    @jax.jit
    def step(parameters: Any, momentum: Any, x: Any, y: Any) -> Any:
        gradients = jax.grad(loss)(parameters, x, y)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, gradients)
        return jax.tree.map(lambda p, m: p - 1e-4 * m, parameters, momentum), momentum

    state = [[jnp.asarray(0.05 * normal(*shape)) for shape in SHAPES], [jnp.zeros(shape) for shape in SHAPES]]
    x, y = jnp.asarray(normal(32, 1, 64, 64)), jnp.asarray(labels(32, 15))

    def call() -> None:
        state[:] = step(*state, x, y)
        jax.block_until_ready(state)

    return call


def _simplenet_tinygrad() -> Step:
    """The step is captured by its jit, as its users write it."""
    from tinygrad import Context, Tensor, TinyJit, nn

    layers = [nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5), nn.Linear(500, 100), nn.Linear(100, 15)]
    optimizer = nn.optim.SGD(nn.state.get_parameters(layers), lr=1e-4, momentum=0.9)
    x, y = Tensor(normal(32, 1, 64, 64)).realize(), Tensor(labels(32, 15).astype("int32")).realize()

    @TinyJit
    def step() -> Any:
        with Context(TRAINING=1):
            optimizer.zero_grad()
            hidden = layers[0](x).max_pool2d((3, 3)).relu()
            hidden = layers[1](hidden).max_pool2d((3, 3)).relu().flatten(1)
            loss = layers[3](layers[2](hidden)).sparse_categorical_crossentropy(y).backward()
            return loss.realize(*optimizer.schedule_step())

    return lambda: step().item()


def _simplenet_mygrad() -> Step:
    """Momentum is left to numpy: the library has no optimisers."""
    import mygrad as mg
    import numpy as np
    from mygrad.nnet import conv_nd, max_pool, relu, softmax_crossentropy

    parameters = [mg.tensor(0.05 * normal(*shape)) for shape in SHAPES]
    momentum = [np.zeros(shape, np.float32) for shape in SHAPES]
    x, y = normal(32, 1, 64, 64), labels(32, 15)

    def step() -> None:
        w1, b1, w2, b2, w3, b3, w4, b4 = parameters
        hidden = x
        for weight, bias in (w1, b1), (w2, b2):
            hidden = conv_nd(hidden, weight, stride=1) + bias.reshape(1, -1, 1, 1)
            side = hidden.shape[-1] // 3 * 3  # this pool takes whole windows only
            hidden = relu(max_pool(hidden[:, :, :side, :side], (3, 3), 3))
        logits = mg.matmul(mg.matmul(hidden.reshape(32, 500), w3) + b3, w4) + b4
        softmax_crossentropy(logits, y).backward()
        for parameter, m in zip(parameters, momentum, strict=True):
            m *= 0.9
            m += parameter.grad
            parameter.data -= 1e-4 * m

    return step


SIMPLENET = {"mygrad": _simplenet_mygrad, "tinygrad": _simplenet_tinygrad, "jax": _simplenet_jax}
