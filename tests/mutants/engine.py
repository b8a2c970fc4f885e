"""Mistakes in what all ops share: the two sweeps, and what each kind derives."""

from minigrad import graph, recompute, transforms
from minigrad.ops import checks, kinds
from minigrad.tensor import Tensor
from tests.mutants.plant import Mutant, edit

MUTANTS = (
    Mutant(
        "sweep: accumulation",
        "of two paths to a node, only the last counts",
        edit(graph.pull, "ADD[cotangent.__class__](found[age][1], cotangent)", "cotangent"),
        ("test_ops::test_derivatives[multiply]",),
    ),
    Mutant(
        "sweep: accumulation of tensors",
        "of two paths to a node, only the last counts, if the sweep is recorded",
        edit(graph.pull, "found[age][1] + cotangent", "cotangent"),
        ("test_graph::test_second_derivatives_of_a_fused_op",),
    ),
    Mutant(
        "sweep: accumulation in place",
        "the second cotangent is added into the array of the first, which others may hold",
        edit(
            graph.pull,
            "ADD[cotangent.__class__](found[age][1], cotangent)",
            "np.add(found[age][1], cotangent, found[age][1])",
        ),
        ("test_ops::test_derivatives[add]", "test_graph"),
    ),
    Mutant(
        "sweep: order",
        "nodes are visited before their cotangents are complete",
        edit(graph.pull, "node, g = found.pop(heappop(ages))", "node, g = found.pop(ages.pop())"),
        ("test_graph",),
    ),
    Mutant(
        "sweep: frees too early",
        "saved arrays are given up although the graph is to be retained",
        edit(graph.pull, "if free:", "if True:"),
        ("test_ops::test_derivatives[exp]",),
    ),
    Mutant(
        "sweep: frees never",
        "saved arrays stay after the backward that used them",
        edit(graph.pull, "if free:", "if False:"),
        ("test_graph::test_backward_frees_what_it_used",),
    ),
    Mutant(
        "sweep: create_graph",
        "the rules are not recorded, so gradients are constants",
        edit(graph.pull, "with recording(create_graph):", "with recording(False):"),
        ("test_ops::test_derivatives[exp]",),
    ),
    Mutant(
        "sweep: saved values",
        "while the rules are recorded, saved values are constants",
        edit(graph.Node.value, "if is_recording():", "if False:"),
        ("test_ops::test_derivatives[multiply]",),
    ),
    Mutant(
        "sweep: hooks",
        "what a hook returns does not take the cotangent's place",
        edit(graph.through_hooks, "        g = changed\n", "        pass\n"),
        ("test_hooks",),
    ),
    Mutant(
        "sweep: useful nodes",
        "only nodes all of whose parents lead to a target are walked",
        edit(graph.descendants, "if any(parent in found", "if all(parent in found"),
        ("test_ops::test_derivatives[multiply]", "test_graph"),
    ),
    Mutant(
        "backward: .grad",
        "a second backward replaces what the first left in .grad",
        edit(Tensor.backward, "graph.wrap(g._array, g._node) if leaf.grad is None else leaf.grad + g", "g"),
        ("test_graph",),
    ),
    Mutant(
        "push: all tangents",
        "a node gets the tangent of its first parent alone",
        edit(
            graph.push,
            "for parent in node.parents]",
            "for parent in node.parents[:1]] + [None] * (len(node.parents) - 1)",
        ),
        ("test_ops::test_derivatives[matmul]",),
    ),
    Mutant(
        "elementwise: un-broadcasting",
        "the cotangent of a broadcast input is not summed",
        edit(kinds.Elementwise.pull_arrays, "sum_to(wrap(of_x), x.shape)._array", "of_x"),
        ("test_ops::test_derivatives[multiply]",),
    ),
    Mutant(
        "elementwise: un-broadcasting of tensors",
        "the cotangent of a broadcast input is not summed, if the sweep is recorded",
        edit(kinds.Elementwise.pull, "else sum_to(one, parent.shape)", "else one"),
        ("test_ops::test_derivatives[multiply]",),
    ),
    Mutant(
        "elementwise: jvp of one input",
        "the tangent forgets all inputs but the last",
        edit(kinds.Elementwise.push, "term if total is None else total + term", "term"),
        ("test_ops::test_derivatives[multiply]",),
    ),
    Mutant(
        "elementwise: tangent not broadcast",
        "the tangent has the shape of one input, not of the result",
        edit(kinds.Elementwise.push, "total.broadcast_to(node.shape)", "total"),
        ("test_ops::test_derivatives[add]",),
    ),
    Mutant(
        "elementwise: infinite cotangents",
        "what was not chosen gets 0 times the cotangent, which is NaN if that is infinite",
        edit(
            kinds.Elementwise._times_partial,
            'REGISTRY["where"](slope != 0, factor * slope, 0.0) if self.selects else factor * slope',
            "factor * slope",
        ),
        ("test_graph::test_a_branch_not_taken_gets_no_gradient_even_times_infinity",),
    ),
    Mutant(
        "un-broadcasting: mean",
        "cotangents are averaged over the axes that broadcasting added",
        edit(checks.sum_to, "x.sum(axis=tuple(range(extra)))", "x.mean(axis=tuple(range(extra)))"),
        ("test_ops::test_derivatives[broadcast_to]",),
    ),
    Mutant(
        "un-broadcasting: stretched axes",
        "axes of size 1 that were stretched are not summed but cut",
        edit(
            checks.sum_to,
            "x.sum(axis=(*range(extra), *stretched), keepdims=True)",
            "x.sum(axis=tuple(range(extra)), keepdims=True)[tuple(slice(0, 1) if i in stretched else slice(None) "
            "for i in range(len(x.shape)))]",
        ),
        ("test_ops::test_derivatives[broadcast_to]",),
    ),
    Mutant(
        "linear: jvp of one input",
        "the tangent forgets all inputs but the first",
        edit(
            kinds.Linear.tangent,
            "zeros_like(spec, like) if tangent is None",
            "zeros_like(spec, like) if tangent is not like",
        ),
        ("test_ops::test_derivatives[concat]",),
    ),
    Mutant(
        "bilinear: jvp of one input",
        "the product rule has one term",
        edit(kinds.Bilinear.tangent, "terms[0] if len(terms) == 1 else terms[0] + terms[1]", "terms[0]"),
        ("test_ops::test_derivatives[matmul]",),
    ),
    Mutant(
        "bilinear: what is kept",
        "each adjoint sees its own input in place of the other",
        edit(
            kinds.Bilinear.save,
            "(x, y), (of_x, of_y) = arrays, parents",
            "(x, y), (of_y, of_x) = arrays[::-1], parents",
        ),
        ("test_ops::test_derivatives[matmul]",),
    ),
    Mutant(
        "fused: second order",
        "the gradient's own gradient is sought in the arrays of the kernel",
        edit(kinds.Fused.pull, "if not is_recording():", "if True:"),
        ("test_ops::test_derivatives[softmax]",),
    ),
    Mutant(
        "fused: jvp",
        "the tangent is that of one input",
        edit(kinds.Fused.tangent, "if one is not None}", "if one is not None and one is own[0]}"),
        ("test_ops::test_derivatives[linear]",),
    ),
    Mutant(
        "checkpoint: captured parameters",
        "what the function reads beside its arguments gets no gradient",
        edit(recompute._Hub.pull, "None if parent is None else", "None if parent is None or one in run.closed else"),
        ("test_recompute",),
    ),
    Mutant(
        "checkpoint: random numbers",
        "the second run draws other numbers than the first",
        edit(recompute._Call.again, "Draws(self.draws.places)", "Draws()"),
        ("test_recompute",),
    ),
    Mutant(
        "jacobian: order of axes",
        "in forward mode the slices are stacked in front",
        edit(transforms.jacobian, "axis=-1 if forward else 0", "axis=0"),
        ("test_transforms",),
    ),
    Mutant(
        "vjp: one output",
        "of two cotangents of the same result, the last counts",
        edit(transforms._Run.pull, "seeds[node] + g if node in seeds else g", "g"),
        ("test_transforms",),
    ),
    Mutant(
        "transforms: confusion",
        "results forget that they depend on what an outer derivative watches",
        edit(transforms._seen, "y if y._node in watched else y.detach()", "y.detach()"),
        ("test_transforms",),
    ),
)
