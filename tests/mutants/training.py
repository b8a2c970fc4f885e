"""Mistakes in optimisers, layers, losses and what keeps their state."""

from minigrad import nn, optim
from minigrad.kernels.cpu import optim as steps
from minigrad.nn import fusion, loss, norm
from minigrad.nn.module import Module
from minigrad.tensor import Tensor
from tests.mutants.plant import Mutant, edit

MUTANTS = (
    # ---- optimisers ----------------------------------------------------------------------------------------------
    Mutant(
        "SGD: momentum without state",
        "the last step is forgotten",
        edit(optim.SGD.update, 'x, state["delta"] = in_one_pass', "x, _ = in_one_pass"),
        ("test_testing::test_optimisers",),
    ),
    Mutant(
        "SGD: Nesterov",
        "the step is that of plain momentum",
        edit(optim.SGD.update, '"nesterov": self.nesterov', '"nesterov": False'),
        ("test_optim::test_sgd_is_the_reference",),
    ),
    Mutant(
        "SGD: weight decay",
        "the decay goes uphill",
        edit(optim.SGD.update, '"decay": self.weight_decay', '"decay": -self.weight_decay'),
        ("test_optim::test_sgd_is_the_reference",),
    ),
    Mutant(
        "Adam: bias correction",
        "the moments are taken as they are",
        edit(steps.adam_step, "lr / (1 - first**steps), 1 - second**steps", "lr, 1.0"),
        ("test_optim::test_adam_is_the_reference",),
    ),
    Mutant(
        "Adam: betas",
        "the two decay rates are exchanged",
        edit(steps.adam_step, "first, second = betas", "second, first = betas"),
        ("test_optim::test_adam_is_the_reference",),
    ),
    Mutant(
        "Adam: steps",
        "a parameter that joins later is taken for as old as the others",
        edit(optim.Adam.update, 'steps=state["steps"].item()', "steps=self.steps"),
        ("test_testing::test_optimisers",),
    ),
    Mutant(
        "Adam: eps",
        "eps is under the root",
        edit(steps.adam_step, "rate, correction, eps, decay)", "rate, correction, eps**0.5, decay)"),
        ("test_optim::test_adam_is_the_reference",),
    ),
    Mutant(
        "optimiser: in place",
        "a step writes into the parameter's array",
        edit(Tensor.assign, "self._array = values._array if same", "self._array[...] = values._array if same"),
        ("test_optim::test_a_step_gives_new_arrays",),
    ),
    Mutant(
        "optimiser: zero_grad",
        "the gradients stay",
        edit(optim.Optimizer.zero_grad, "parameter.grad = None", "pass"),
        ("test_testing::test_optimisers",),
    ),
    Mutant(
        "optimiser: state",
        "a loaded state brings the number of steps alone",
        edit(optim.Optimizer.load_state_dict, "for i, slots in enumerate(self.state):", "for i, slots in ():"),
        ("test_testing::test_optimisers",),
    ),
    # ---- layers --------------------------------------------------------------------------------------------------
    Mutant(
        "Dropout: scale",
        "what is kept is not divided by 1 - p",
        edit(nn.Dropout.forward, "kept.astype(x.dtype) / (1 - self.p)", "kept.astype(x.dtype)"),
        ("test_nn",),
    ),
    Mutant(
        "Dropout: evaluation",
        "it drops in evaluation, too",
        edit(nn.Dropout.forward, "not self.training or ", ""),
        ("test_nn",),
    ),
    Mutant(
        "Dropout: share",
        "it keeps p in place of dropping it",
        edit(nn.Dropout.forward, ">= self.p", "< self.p"),
        ("test_nn",),
    ),
    Mutant(
        "BatchNorm: running variance",
        "the biased one, with 1/n",
        edit(norm._BatchNorm.forward, "share * count / (count - 1)", "share"),
        ("test_nn",),
    ),
    Mutant(
        "BatchNorm: momentum",
        "the share of the batch and of the past are exchanged",
        edit(norm._BatchNorm.forward, "1 - share, mean, share", "share, mean, 1 - share"),
        ("test_nn",),
    ),
    Mutant(
        "BatchNorm: evaluation",
        "the statistics of the batch count in evaluation, too",
        edit(norm._BatchNorm.forward, "if not self.training:", "if False:"),
        ("test_nn",),
    ),
    Mutant(
        "BatchNorm: eps",
        "the setting does not reach the op",
        edit(norm._BatchNorm.forward, '"eps": self.eps', '"eps": 1e-3'),
        ("test_nn",),
    ),
    Mutant(
        "Conv2d: dilation",
        "the setting does not reach the op",
        edit(nn.Conv2d.forward, '"dilation": self.dilation', '"dilation": 1'),
        ("test_nn",),
    ),
    Mutant(
        "Sequential: fusion of strides",
        "a convolution and a pool whose stride is not its window are computed as if it were",
        edit(fusion.conv_pool, "not plain or pool.stride != window or", "not plain or"),
        ("test_nn::test_a_chain_in_one_op_equals_its_layers",),
    ),
    Mutant(
        "Sequential: fusion of ReLU",
        "ReLU after a pool is lost",
        edit(fusion.conv_pool, "kinds[2:] == [ReLU], 2 +", "False, 2 +"),
        ("test_nn::test_a_chain_in_one_op_equals_its_layers",),
    ),
    # ---- modules and their state ---------------------------------------------------------------------------------
    Mutant(
        "Module: load_state_dict",
        "buffers are left as they were",
        edit(
            Module.load_state_dict,
            "part.assign(found[path])",
            "isinstance(part, Parameter) and part.assign(found[path])",
        ),
        ("test_nn",),
    ),
    Mutant(
        "Module: train",
        "the mode does not reach the modules inside",
        edit(Module.train, "in self.modules():", "in (self,):"),
        ("test_nn",),
    ),
    Mutant(
        "Module: parameters",
        "a parameter that two modules share is there twice",
        edit(Module.named_parameters, '_walk(self, "", set())', '_walk(self, "", set(), again=True)'),
        ("test_nn",),
    ),
    # ---- losses --------------------------------------------------------------------------------------------------
    Mutant(
        "cross_entropy: weighted mean",
        "the weighted losses are divided by the number of labels",
        edit(loss.cross_entropy, "loss.sum() / share.sum()", "loss.mean()"),
        ("test_nn::test_cross_entropy",),
    ),
    Mutant(
        "cross_entropy: smoothing",
        "the share of all classes is not divided by their number",
        edit(loss.cross_entropy, "per_class.sum(axis=1) / logits.shape[1]", "per_class.sum(axis=1)"),
        ("test_nn::test_cross_entropy",),
    ),
    Mutant(
        "cross_entropy: ignored labels",
        "they are part of the mean",
        edit(loss.cross_entropy, "ops.where(counted, share, 0.0)", "share"),
        ("test_nn::test_cross_entropy",),
    ),
    Mutant(
        "binary_cross_entropy: targets",
        "a target of 1 counts as one of 0",
        edit(loss.binary_cross_entropy_with_logits, "softplus(-logits)", "softplus(logits)"),
        ("test_nn::test_other_losses",),
    ),
    Mutant(
        "mse_loss: factor",
        "half the squared difference",
        edit(loss.mse_loss, "ops.square(prediction - target)", "0.5 * ops.square(prediction - target)"),
        ("test_nn::test_other_losses",),
    ),
)
