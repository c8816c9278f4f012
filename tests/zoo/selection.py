"""The models that the suite runs, and those that only `make zoo` runs since one of the suite's is much like them.

A model is left out where another reaches much the same code of the compiler: an operator on another number of axes or
with another formula of one entry, or a network of blocks that other entries have. The dearest kinds stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.zoo.catalogue import ZOO

__all__ = ["LIKE", "SUITE"]

# By a model of the suite, those that are like it.
_ALIKE: Mapping[str, Sequence[str]] = {
    "ReLU": ("ReLU in place", "LeakyReLU"),
    "PReLU by channel": ("PReLU",),
    "ELU": ("SELU", "CELU", "self-normalising network"),
    "GELU": ("GELU by tanh",),
    "SiLU in place": ("SiLU",),
    "Softplus": ("LogSigmoid", "Softsign"),
    "Tanh": ("Tanhshrink", "Sigmoid"),
    "Hardtanh": ("ReLU6", "Hardsigmoid", "Hardswish"),
    "Softshrink": ("Hardshrink", "Threshold"),
    "Softmax": ("Softmin", "LogSoftmax", "Softmax2d"),
    "LayerNorm": ("LayerNorm without weights", "LayerNorm over two axes", "RMSNorm with eps"),
    "InstanceNorm2d": ("InstanceNorm1d",),
    "Dropout in evaluation": ("AlphaDropout in evaluation", "Dropout2d in evaluation"),
    "Flatten and Unflatten": ("Identity",),
    "ParameterList": ("ParameterDict",),
    "CosineSimilarity": ("PairwiseDistance",),
    "logistic regression": ("Linear without bias",),
    "weight_norm": ("a parametrisation of one's own",),
    "MaxPool1d, overlapping": ("MaxPool1d",),
    "MaxPool2d, dilated": ("MaxPool2d, overlapping",),
    "MaxPool3d, overlapping": ("MaxPool3d",),
    "AvgPool2d": ("AvgPool1d",),
    "AvgPool2d, ceil_mode": ("AvgPool2d, overlapping",),
    "LPPool2d": ("LPPool1d",),
    "AdaptiveAvgPool2d": ("AdaptiveAvgPool1d",),
    "AdaptiveAvgPool2d, unequal": ("AdaptiveAvgPool1d, unequal", "interpolate, area"),
    "AdaptiveMaxPool2d": ("AdaptiveMaxPool1d",),
    "AdaptiveAvgPool3d": ("AdaptiveMaxPool3d", "AvgPool3d"),
    "Conv1d, dilated": ("Conv1d", "Conv1d, strided", "Conv1d, grouped"),
    "Conv2d": ("Conv2d, 1 x 1", "Conv2d, strided"),
    "Conv2d, circular": ("CircularPad2d",),
    "Conv3d, strided and grouped": ("Conv3d",),
    "ConvTranspose2d": ("ConvTranspose1d", "ConvTranspose2d, output_padding"),
    "ZeroPad2d": ("ConstantPad1d",),
    "ReflectionPad2d": ("ReflectionPad1d", "Conv2d, reflecting"),
    "ReplicationPad2d": ("ReplicationPad1d",),
    "interpolate, nearest": ("interpolate, nearest to a size",),
    "interpolate, bilinear": ("interpolate, bilinear to a size", "Upsample, linear"),
    "PixelShuffle": ("PixelUnshuffle", "ChannelShuffle"),
    "LeNet": ("VGG", "MLP on pixels"),
    "ResNet, bottleneck": ("ResNeXt", "ResNet, basic block"),
    "ResNet, basic block with BatchNorm": ("MobileNet V2 with BatchNorm",),
    "MobileNet V3": ("MobileNet V1", "MobileNet V2", "EfficientNet, MBConv", "SE-ResNet"),
    "Inception": ("SqueezeNet, fire",),
    "U-Net, transposed convolution": ("U-Net, nearest", "U-Net, bilinear"),
    "attention by hand": ("causal attention by hand",),
    "scaled_dot_product_attention, causal": ("scaled_dot_product_attention",),
    "TransformerEncoderLayer, norm_first": ("TransformerEncoderLayer", "TransformerEncoderLayer, causal"),
    "ViT": ("FT-Transformer",),
    "BERT-like": ("TransformerEncoder of two layers", "text encoder"),
    "LSTM": ("LSTM of two layers",),
    "RNN": ("RNN with ReLU",),
    "GRUCell": ("RNNCell",),
    "EmbeddingBag, mean": ("EmbeddingBag, sum",),
    "DeepFM": ("Wide & Deep",),
    "highway network": ("ResNet for tables",),
    "sparse mixture of experts": ("mixture of experts",),
    "SIREN": ("Fourier features",),
    "masked_fill": ("where", "tril"),
    "x[:, 0] = ...": ("blocks set in place",),
    "argmax": ("max along an axis",),
    "topk": ("sort",),
    "logcumsumexp": ("logsumexp",),
    "clamp": ("maximum and minimum",),
    "sin, cos, tan, atan": ("sinh, cosh, asinh, atan2",),
    "differences of steps": ("torch.diff",),
    "indices of a list": ("index_select",),
    "einsum": ("bmm", "tensordot and movedim"),
    "linalg.inv": ("linalg.solve",),
    "fft": ("complex numbers",),
    "huber_loss": ("smooth_l1_loss", "log cosh"),
    "l1_loss": ("pinball",),
    "binary_cross_entropy_with_logits": ("binary_cross_entropy", "soft_margin_loss"),
    "cross_entropy": ("nll_loss",),
    "cross_entropy with label smoothing": ("cross_entropy with class weights",),
}
LIKE = {name: model for model, names in _ALIKE.items() for name in names}
SUITE = tuple(name for name in ZOO if name not in LIKE)
