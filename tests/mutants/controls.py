"""Changes that are no mistakes: a way to plant that made every test fail would find these, too."""

from minigrad import graph, ops
from minigrad.kernels import reference
from minigrad.ops.composite import _softmax
from tests.mutants.plant import Mutant, backward, edit, kernel, rules

MUTANTS = (
    Mutant("control: nothing", "nothing", (), ("test_hooks", "test_ops[multiply]")),
    Mutant(
        "control: text",
        "a line of the sweep in other words",
        edit(graph.pull, "if free:", "if free is True:"),
        ("test_hooks", "test_ops::test_derivatives[exp]"),
    ),
    Mutant(
        "control: rule",
        "1 - out * out as a product",
        rules(ops.tanh, "partials", lambda out: (1 - out) * (1 + out)),
        ("test_ops[tanh]",),
    ),
    Mutant(
        "control: kernel",
        "the reference in place of the compiled kernel",
        kernel(ops.avg_pool2d, lambda right, x, **options: reference.avg_pool2d(x, **options)),
        ("test_ops[avg_pool2d]",),
    ),
    Mutant(
        "control: backward",
        "the gradient of the plain composition in place of the compiled kernel",
        backward(ops.softmax, _softmax),
        ("test_ops[softmax]",),
    ),
)
