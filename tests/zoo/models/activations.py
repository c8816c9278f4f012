"""Every activation of torch.nn between two linear layers."""

from __future__ import annotations

from tests.zoo.entry import IMAGE, Entry, ended, mlp
from torch import nn

ACTIVATIONS = [
    Entry("ReLU", lambda: mlp(nn.ReLU())),
    Entry("ReLU in place", lambda: mlp(nn.ReLU(inplace=True))),
    Entry("ReLU6", lambda: mlp(nn.ReLU6())),
    Entry("LeakyReLU", lambda: mlp(nn.LeakyReLU(0.1))),
    Entry("PReLU", lambda: mlp(nn.PReLU())),
    Entry("PReLU by channel", lambda: mlp(nn.PReLU(6))),
    Entry("RReLU", lambda: mlp(nn.RReLU())),
    Entry("ELU", lambda: mlp(nn.ELU(0.8))),
    Entry("SELU", lambda: mlp(nn.SELU())),
    Entry("CELU", lambda: mlp(nn.CELU(1.3))),
    Entry("GELU", lambda: mlp(nn.GELU())),
    Entry("GELU by tanh", lambda: mlp(nn.GELU("tanh"))),
    Entry("SiLU", lambda: mlp(nn.SiLU())),
    Entry("SiLU in place", lambda: mlp(nn.SiLU(inplace=True))),
    Entry("Mish", lambda: mlp(nn.Mish())),
    Entry("Sigmoid", lambda: mlp(nn.Sigmoid())),
    Entry("LogSigmoid", lambda: mlp(nn.LogSigmoid())),
    Entry("Hardsigmoid", lambda: mlp(nn.Hardsigmoid())),
    Entry("Hardswish", lambda: mlp(nn.Hardswish())),
    Entry("Hardtanh", lambda: mlp(nn.Hardtanh(-0.5, 0.7))),
    Entry("Tanh", lambda: mlp(nn.Tanh())),
    Entry("Tanhshrink", lambda: mlp(nn.Tanhshrink())),
    Entry("Softplus", lambda: mlp(nn.Softplus(2.0))),
    Entry("Softsign", lambda: mlp(nn.Softsign())),
    Entry("Softshrink", lambda: mlp(nn.Softshrink(0.2))),
    Entry("Hardshrink", lambda: mlp(nn.Hardshrink(0.2))),
    Entry("Threshold", lambda: mlp(nn.Threshold(0.1, 0.2))),
    Entry("GLU", lambda: mlp(nn.GLU(), width=3)),
    Entry("Softmax", lambda: mlp(nn.Softmax(-1))),
    Entry("Softmin", lambda: mlp(nn.Softmin(-1))),
    Entry("LogSoftmax", lambda: mlp(nn.LogSoftmax(-1))),
    Entry("Softmax2d", lambda: ended(IMAGE, nn.Conv2d(2, 4, 3), nn.Softmax2d(), nn.AvgPool2d(2)), IMAGE),
]
