"""Layers in plain arithmetic have torch's values and its first and second derivatives, also batched by `vmap`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.func import grad, vmap

from tegu.core.errors import CompileError
from tegu.learners.operators.exportable import PlainOperators

SHAPES = {"rows": (3, 6), "series": (3, 4, 9), "image": (2, 4, 7, 8), "volume": (2, 2, 5, 6, 4)}


def with_ties(x):
    """Multiples of a half, so that windows have equal maxima."""
    return x.mul(2).round() / 2


def changed(key, value=None):
    """`x` with `x[key]` set to other entries of `x`, or to a value."""

    def change(x):
        result = 1 * x
        result[key] = x[key].flip(0).sin() if value is None else value
        return result

    return change


def with_statistics(norm):
    """In evaluation, with statistics and parameters as after training."""
    generator = torch.Generator().manual_seed(1)
    for tensor in (norm.running_mean, norm.running_var, *norm.parameters()):
        tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
    return norm.eval()


LAYERS = {
    "batch_norm": ("image", with_statistics(nn.BatchNorm2d(4, eps=0.1))),
    "batch_norm_of_rows": ("rows", with_statistics(nn.BatchNorm1d(6))),
    "batch_norm_without_parameters": ("series", with_statistics(nn.BatchNorm1d(4, affine=False))),
    "silu": ("rows", nn.SiLU()),
    "mish": ("rows", nn.Mish()),
    "glu": ("rows", nn.GLU()),
    "glu_of_middle": ("series", nn.GLU(1)),
    "gelu": ("rows", nn.GELU()),
    "rrelu": ("rows", nn.RReLU().eval()),
    "rms_norm": ("rows", nn.RMSNorm(6)),
    "rms_norm_of_two_axes": ("series", nn.RMSNorm((4, 9), eps=0.1)),
    "local_response_norm": ("image", nn.LocalResponseNorm(3, alpha=0.5)),
    "local_response_norm_even": ("series", nn.LocalResponseNorm(2, alpha=0.5, beta=1.5, k=2.0)),
    "avg_pool1d": ("series", nn.AvgPool1d(3, 2, ceil_mode=True)),
    "avg_pool1d_padded": ("series", nn.AvgPool1d(3, 2, 1, ceil_mode=True)),
    "avg_pool2d": ("image", nn.AvgPool2d((3, 2), (2, 3), 1, ceil_mode=True)),
    "avg_pool2d_of_covered": ("image", nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)),
    "avg_pool2d_override": ("image", nn.AvgPool2d(3, 2, 1, ceil_mode=True, divisor_override=5)),
    "avg_pool3d": ("volume", nn.AvgPool3d(2)),
    "avg_pool3d_padded": ("volume", nn.AvgPool3d(3, 2, 1, ceil_mode=True)),
    "adaptive_avg_pool1d": ("series", nn.AdaptiveAvgPool1d(4)),
    "adaptive_avg_pool2d": ("image", nn.AdaptiveAvgPool2d((3, None))),
    "adaptive_avg_pool3d": ("volume", nn.AdaptiveAvgPool3d((2, 4, 3))),
    "adaptive_max_pool1d": ("series", nn.AdaptiveMaxPool1d(4)),
    "adaptive_max_pool2d": ("image", nn.AdaptiveMaxPool2d((3, 5))),
    "adaptive_max_pool3d": ("volume", nn.AdaptiveMaxPool3d(2)),
    "max_pool3d": ("volume", nn.MaxPool3d(2)),
    "max_pool3d_overlapping": ("volume", nn.MaxPool3d(3, 2, 1, ceil_mode=True)),
    "max_pool3d_dilated": ("volume", nn.MaxPool3d(2, 1, dilation=2)),
    "lp_pool1d": ("series", nn.LPPool1d(2, 3, 2)),
    "lp_pool2d": ("image", nn.LPPool2d(2, 2, ceil_mode=True)),
    "lp_pool3d": ("volume", nn.LPPool3d(2, 2)),
    "area": ("image", lambda x: F.interpolate(x, (3, 5), mode="area")),
    "area_scaled": ("image", lambda x: F.interpolate(x, scale_factor=0.5, mode="area")),
    "replicate": ("image", lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate")),
    "replicate_cropped": ("series", lambda x: F.pad(x, (-1, 2), mode="replicate")),
    "circular": ("image", lambda x: F.pad(x, (2, 1, 0, 3), mode="circular")),
    "constant": ("image", lambda x: F.pad(x, (2, 1), value=0.5)),
    "bilinear": (
        "rows",
        lambda x: F.bilinear(x[:, :2], x[:, 2:], torch.arange(24.0, dtype=x.dtype).sin().reshape(3, 2, 4)),
    ),
    "cdist": ("rows", lambda x: torch.cdist(x, x[:2] + 1)),
    "cdist_taxicab": ("rows", lambda x: torch.cdist(x, x.flip(0) + 1, p=1.0)),
    "matrix_exp": ("rows", lambda x: torch.matrix_exp(3 * (x[:, :3] - x[:, :3].T))),
    "inverse": ("image", lambda x: torch.linalg.inv(x[..., :7])),
    "solve": ("image", lambda x: torch.linalg.solve(x[..., :7], x)),
    "solve_vector": ("image", lambda x: torch.linalg.solve(x[..., :7], x[..., 7])),
    "cumprod": ("series", lambda x: x.cumprod(-1)),
    "cumprod_of_middle": ("series", lambda x: torch.cumprod(x, 1)),
    "prod": ("series", lambda x: x.prod(-1)),
    "prod_kept": ("series", lambda x: torch.prod(x, 1, keepdim=True)),
    "cummax": ("series", lambda x: x.cummax(-1).values),
    "cummin": ("series", lambda x: torch.cummin(x, 1).values),
    "cummax_places": ("series", lambda x: x * torch.cummax(x.mul(2).round(), 1).indices),
    "median": ("series", lambda x: torch.cat([x.median(-1).values, x.median(1, keepdim=True).values[..., 0]], 1)),
    "diagonal": ("series", lambda x: torch.diagonal(x, -1, 1, 2)),
    "diagonal_above": ("image", lambda x: x.diagonal(2, 3, 0)),
    "unfold": ("series", lambda x: x.unfold(-1, 4, 2)),
    "unfold_of_middle": ("series", lambda x: x.unfold(1, 3, 1)),
    "affine_grid": ("rows", lambda x: F.affine_grid(x.reshape(3, 2, 3), [3, 1, 4, 5], align_corners=False)),
    "affine_grid_corners": ("rows", lambda x: F.affine_grid(x.reshape(3, 2, 3), [3, 1, 4, 5], align_corners=True)),
    "affine_grid_3d": (
        "volume",
        lambda x: F.affine_grid(x.reshape(2, -1)[:, :12].reshape(2, 3, 4), [2, 1, 3, 4, 5], align_corners=False),
    ),
    "grid_sample": ("image", lambda x: F.grid_sample(x, 1.2 * x[:, :2].movedim(1, -1).tanh(), align_corners=False)),
    "grid_sample_border": (
        "image",
        lambda x: F.grid_sample(x, 1.2 * x[:, :2].movedim(1, -1).tanh(), padding_mode="border", align_corners=True),
    ),
    "grid_sample_nearest": (
        "image",
        lambda x: F.grid_sample(x, x[:, :2].movedim(1, -1).tanh(), mode="nearest", align_corners=False),
    ),
    "grid_sample_3d": (
        "volume",
        lambda x: F.grid_sample(x, x.repeat(1, 2, 1, 1, 1)[:, :3].movedim(1, -1).tanh(), align_corners=False),
    ),
    "gaussian_nll": ("rows", lambda x: F.gaussian_nll_loss(x, x.flip(0), F.relu(x.square() - 0.3), reduction="none")),
    "gather": ("series", lambda x: x.gather(2, x.argsort(2)[..., :4])),
    "gather_middle": ("series", lambda x: torch.gather(x, 1, x.argsort(1)[:, 1:])),
    "index_select": ("series", lambda x: x.index_select(1, torch.tensor([3, 0, 0]))),
    "sort": ("series", lambda x: x.sort(1, descending=True).values),
    "topk": ("series", lambda x: torch.topk(x, 3).values),
    "max": ("series", lambda x: x.max(1).values + x.min(dim=1).values),
    "max_kept": ("series", lambda x: torch.max(x, -1, keepdim=True).values * x),
    "max_of_two": ("series", lambda x: torch.max(x, x.flip(1))),
    "one_hot": ("series", lambda x: x * F.one_hot(x.argmax(2), 9)[:, :, :9]),
    "set_column": ("series", changed((slice(None), 0))),
    "set_last": ("series", changed((..., -1), 0.3)),
    "set_block": ("image", changed((slice(None), slice(1, 3), 2, slice(-4, None)))),
    "set_step": ("series", changed((slice(None), slice(0, 4, 2)))),
    "set_row": ("series", changed(1, 2.0)),
    "set_nothing": ("series", changed((slice(None), slice(3, 2)), 2.0)),
    "set_broadcast": ("image", changed((slice(None), 1), torch.arange(8.0, dtype=torch.float64))),
    "set_masked": ("image", lambda x: changed(x > 0.3, 0.1)(x)),
    "set_masked_steps": ("image", lambda x: changed(x[:, :, 0, 0] > 0, -1)(x)),
    "householder": ("series", lambda x: torch.linalg.householder_product(x.transpose(1, 2), x[:, :, 0].sigmoid())),
}
# Torch has no second derivative of its own for these.
WRITTEN_OUT = {
    "cdist": lambda x: (x[:, None] - x[:2] - 1).square().sum(-1).sqrt(),
    "cdist_taxicab": lambda x: (x[:, None] - x.flip(0) - 1).abs().sum(-1),
}
TIES = ["adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "max_pool3d", "max_pool3d_overlapping"]


def example(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weighted(layer):
    """A scalar with gradients that differ between entries."""
    return lambda x: (layer(x) * torch.arange(1.0, 1 + layer(x).numel(), dtype=x.dtype).reshape(layer(x).shape)).sum()


def plain(layer):
    def call(x):
        with PlainOperators():
            return layer(x)

    return call


def derivatives(layer, x):
    """The value, the gradient, and the gradient of its squared length."""
    function = weighted(layer)

    def slope(x):
        (found,) = torch.autograd.grad(function(x), x, create_graph=True)
        return found

    x = x.clone().requires_grad_()
    first = slope(x)
    second = torch.autograd.grad(first.square().sum(), x, allow_unused=True)[0] if first.requires_grad else None
    return layer(x), first, torch.zeros_like(x) if second is None else second


def double(layer):
    return layer.double() if isinstance(layer, nn.Module) else layer


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_derivatives_are_torchs(name):
    shape, layer = LAYERS[name]
    layer, x = double(layer), example(SHAPES[shape])
    torch.testing.assert_close(plain(layer)(x), layer(x))
    references = derivatives(WRITTEN_OUT.get(name, layer), x)
    for found, expected in zip(derivatives(plain(layer), x), references, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", TIES)
def test_the_first_of_equal_maxima_has_the_gradient(name):
    shape, layer = LAYERS[name]
    x = example(SHAPES[shape])
    x = with_ties(x).requires_grad_()
    found, expected = (torch.autograd.grad(weighted(f)(x), x)[0] for f in (plain(layer), layer))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_vmap_gives_each_users_values_and_gradients(name):
    shape, layer = LAYERS[name]
    layer = plain(double(layer))
    users = torch.stack([example(SHAPES[shape], seed) for seed in range(3)])
    for function in (layer, grad(weighted(layer))):
        torch.testing.assert_close(vmap(function)(users), torch.stack([function(x) for x in users]))


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
@pytest.mark.parametrize("padding", [None, 0])
def test_bags(mode, padding):
    layer = nn.EmbeddingBag(7, 4, mode=mode, padding_idx=padding)
    ids = torch.tensor([[1, 0, 3], [6, 6, 2], [0, 0, 0]])
    expected = layer(ids)
    (slope,) = torch.autograd.grad(expected.square().sum(), [layer.weight])
    with PlainOperators():
        found = layer(ids)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found.square().sum(), [layer.weight])[0], slope)


def test_a_weighted_bag():
    table, ids, weights = torch.randn(7, 4), torch.tensor([[1, 0, 3], [6, 6, 2]]), torch.rand(2, 3)
    expected = F.embedding_bag(ids, table, mode="sum", per_sample_weights=weights)
    with PlainOperators():
        torch.testing.assert_close(F.embedding_bag(ids, table, mode="sum", per_sample_weights=weights), expected)


@pytest.mark.parametrize("layer", [nn.SiLU(inplace=True), nn.Mish(inplace=True)])
def test_activations_in_place_change_their_input(layer):
    x = torch.randn(3, 4)
    expected, given = layer(x.clone()), x.clone()
    with PlainOperators():
        assert layer(given) is given
    torch.testing.assert_close(given, expected)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(layer(x.clone()).sum(), x)
    with PlainOperators():
        torch.testing.assert_close(torch.autograd.grad(layer(x.clone()).sum(), x)[0], slope)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.RReLU()(torch.ones(3)), "draws slopes at random in training: call model.eval"),
        (lambda: nn.FractionalMaxPool2d(2, 3)(torch.ones(1, 1, 6, 6)), "random windows.*use max or average pooling"),
        (lambda: nn.AdaptiveMaxPool2d(2, return_indices=True)(torch.ones(1, 1, 6, 6)), "return_indices.*leave it out"),
        (lambda: nn.MaxPool3d(2, return_indices=True)(torch.ones(1, 1, 4, 4, 4)), "return_indices.*leave it out"),
        (
            lambda: nn.EmbeddingBag(5, 2)(torch.tensor([1, 2]), torch.tensor([0])),
            r"ids of shape \(2,\) with offsets has no compiled form: expected ids \[rows, ids of a bag\]",
        ),
        (lambda: torch.fft.rfft(torch.ones(4)), "fft_rfft gives complex numbers"),
        (lambda: torch.eye(3).to_sparse(), "to_sparse gives a sparse tensor.*dense"),
        (lambda: F.grid_sample(torch.ones(1, 1, 3, 3), torch.ones(1, 2, 2, 2), "bicubic"), "expected bilinear"),
        (lambda: nn.EmbeddingBag(5, 2, max_norm=1)(torch.tensor([[1, 2]])), "max_norm"),
    ],
)
def test_what_has_no_compiled_form_is_refused(call, message):
    with PlainOperators(), pytest.raises(CompileError, match=message):
        call()
