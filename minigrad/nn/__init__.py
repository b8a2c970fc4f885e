"""Neural networks: modules, layers and losses, with PyTorch's names and semantics."""

from minigrad.nn import init
from minigrad.nn.activation import ELU, GELU, Hardtanh, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Softplus, Tanh
from minigrad.nn.containers import Flatten, Sequential
from minigrad.nn.conv import Conv1d, Conv2d, ConvTranspose2d
from minigrad.nn.dropout import Dropout
from minigrad.nn.linear import Linear
from minigrad.nn.local import Fold, LocallyConnected2d, Unfold
from minigrad.nn.loss import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    MSELoss,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)
from minigrad.nn.module import Buffer, Module, Parameter, functional_call
from minigrad.nn.norm import BatchNorm1d, BatchNorm2d, LayerNorm, LocalContrastNorm
from minigrad.nn.padding import CircularPad2d, ConstantPad2d, ReflectionPad2d, ReplicationPad2d, Upsample, ZeroPad2d
from minigrad.nn.pool import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    LPPool2d,
    LPPoolFeatures,
    MaxPool2d,
    MaxPoolFeatures,
)

__all__ = [
    "ELU",
    "GELU",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "CircularPad2d",
    "ConstantPad2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Fold",
    "Hardtanh",
    "LPPool2d",
    "LPPoolFeatures",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalContrastNorm",
    "LocallyConnected2d",
    "MSELoss",
    "MaxPool2d",
    "MaxPoolFeatures",
    "Module",
    "Parameter",
    "ReLU",
    "ReLU6",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "Unfold",
    "Upsample",
    "ZeroPad2d",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "functional_call",
    "init",
    "mse_loss",
]
