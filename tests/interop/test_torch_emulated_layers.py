"""Layers in a recipe: their structure, and their gradients', against torch's own functions."""

import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch
from torch.nn import functional
from torch_recipes import EXACT, near

import floatemu.interop.torch as ft


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 2, "padding": 1, "groups": 2},
        {"padding": "same", "dilation": 2},
        {"padding": "valid", "stride": (1, 2)},
        {"padding": (2, 0), "padding_mode": "circular"},
    ],
    ids=["plain", "groups", "same", "valid", "circular"],
)
def test_convolutions(settings):
    torch.manual_seed(0)
    layer, x = torch.nn.Conv2d(4, 6, (3, 2), **settings), torch.randn(2, 4, 8, 7)
    for image in (x, x[0]):
        plain = layer(image)
        want = torch.autograd.grad(plain.square().sum(), list(layer.parameters()))
        with ft.emulate(layer, EXACT) as emulation:
            got = layer(image)
        assert emulation.counts == {("", "convolution"): 1}
        assert near(got, plain)
        found = torch.autograd.grad(got.square().sum(), list(layer.parameters()))
        assert all(near(x, y) for x, y in zip(found, want, strict=True))


OTHERS = {
    "1-d": (torch.nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
    "3-d": (torch.nn.Conv3d(2, 3, (3, 3, 1), dilation=(1, 2, 1), padding="same"), (2, 2, 4, 6, 3)),
    "transposed 1-d": (torch.nn.ConvTranspose1d(4, 6, 3, stride=2, padding=2, output_padding=1, groups=2), (2, 4, 5)),
    "transposed 2-d": (torch.nn.ConvTranspose2d(4, 3, (3, 2), stride=(1, 3), dilation=2), (2, 4, 4, 3)),
    "transposed 3-d": (torch.nn.ConvTranspose3d(2, 2, 2, padding=1), (1, 2, 3, 4, 3)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_convolutions(case):
    layer, shape = OTHERS[case]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for given in (x, x[0]):
        plain = layer(given)
        with ft.emulate(layer, EXACT) as emulation:
            got = layer(given)
        assert emulation.counts == {("", "convolution"): 1}
        assert got.shape == plain.shape
        assert near(got, plain)
        wanted = [x, *layer.parameters()]
        want, found = (torch.autograd.grad(y.square().sum(), wanted) for y in (plain, got))
        assert all(near(one, other) for one, other in zip(found, want, strict=True))


EQUATIONS = {
    "bhid,bhjd->bhij": ((2, 3, 4, 5), (2, 3, 6, 5)),
    "...ij,...jk->...ik": ((2, 3, 4, 5), (2, 3, 5, 6)),
    "...ij,...jk": ((2, 3, 4, 5), (2, 3, 5, 6)),
    "ab,cb": ((3, 4), (5, 4)),
    "i,j->ji": ((3,), (4,)),
    "i,i->": ((3,), (3,)),
    "ijk,jl->lk": ((2, 3, 4), (3, 5)),
    "ab , bcd -> dca": ((3, 4), (4, 2, 5)),
    "ab,cd->ac": ((3, 4), (5, 2)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation):
    class Model(torch.nn.Module):
        def forward(self, *operands):
            return torch.einsum(equation, *operands)

    torch.manual_seed(0)
    model, (a, b) = Model(), (torch.randn(shape) for shape in EQUATIONS[equation])
    for operands in ((a, b), ([a, b],)):
        with ft.emulate(model, EXACT) as emulation:
            got = model(*operands)
        assert emulation.counts == {("", "matmul"): 1}
        want = model(*operands)
        assert got.shape == want.shape
        assert near(got, want)


RECURRENT = {
    "RNN": torch.nn.RNN(4, 3, bidirectional=True),
    "ReLU": torch.nn.RNN(4, 3, nonlinearity="relu", bias=False, batch_first=True),
    "GRU": torch.nn.GRU(4, 3, num_layers=2, bidirectional=True, batch_first=True),
    "LSTM": torch.nn.LSTM(4, 3, num_layers=2, bidirectional=True),
    "RNNCell": torch.nn.RNNCell(4, 3, bias=False),
    "GRUCell": torch.nn.GRUCell(4, 3),
    "LSTMCell": torch.nn.LSTMCell(4, 3),
}


@pytest.mark.parametrize("case", RECURRENT)
def test_recurrent_layers_and_cells(case):
    layer = RECURRENT[case]
    x = torch.randn((2, 4) if case.endswith("Cell") else (5, 2, 4), generator=torch.Generator().manual_seed(0))

    def flat(result):
        return [result] if isinstance(result, torch.Tensor) else [one for part in result for one in flat(part)]

    plain = flat(layer(x))
    with ft.emulate(layer, EXACT) as emulation:
        got = flat(layer(x))
    assert emulation.counts == {("", "recurrent"): 1}
    for one, other in zip(got, plain, strict=True):
        assert one.shape == other.shape
        assert near(one, other)
    want, found = (
        torch.autograd.grad(sum(y.square().sum() for y in z), list(layer.parameters())) for z in (plain, got)
    )
    assert all(near(one, other) for one, other in zip(found, want, strict=True))
    with ft.emulate(layer, "fp8_tensor"):
        assert not near(flat(layer(x))[0], plain[0])


MASK = torch.ones(5, 6, dtype=torch.bool).tril(2)
ATTENTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "boolean mask": {"attn_mask": MASK},
    "additive mask": {"attn_mask": torch.randn(5, 6, generator=torch.Generator().manual_seed(1))},
    "scale": {"scale": 0.3},
    "grouped": {"enable_gqa": True},
}


@pytest.mark.parametrize("case", ATTENTIONS)
def test_attention(case):
    class Model(torch.nn.Module):
        def forward(self, q, k, v):
            return functional.scaled_dot_product_attention(q, k, v, **ATTENTIONS[case])

    torch.manual_seed(0)
    heads = 2 if case == "grouped" else 4
    q, k, v = (torch.randn(2, h, n, 8, requires_grad=True) for h, n in ((4, 5), (heads, 6), (heads, 6)))
    model = Model()
    plain = model(q, k, v)
    with ft.emulate(model, EXACT) as emulation:
        got = model(q, k, v)
    assert emulation.counts == {("", "attention"): 1}
    assert near(got, plain)
    want, found = (torch.autograd.grad(y.square().sum(), (q, k, v)) for y in (plain, got))
    assert all(near(x, y) for x, y in zip(found, want, strict=True))


def test_products_of_every_shape():
    class Model(torch.nn.Module):
        def forward(self, a, b, v):
            batch = torch.bmm(a, b) + torch.baddbmm(v[0], a, b, beta=0.5, alpha=2)
            flat = torch.addmm(v[0], a[0], b[0]) + torch.mm(a[0], b[0])
            return [a @ b, torch.matmul(a, b[0]), a.matmul(v[0]), v[0] @ b, v[0] @ v[1], batch, flat]

    torch.manual_seed(0)
    model, operands = Model(), (torch.randn(2, 5, 5), torch.randn(2, 5, 5), torch.randn(2, 5))
    with ft.emulate(model, EXACT) as emulation:
        got = model(*operands)
    assert emulation.counts == {("", "matmul"): 9}
    for x, y in zip(got, model(*operands), strict=True):
        assert x.shape == y.shape
        assert near(x, y)


@pytest.mark.parametrize("grad", [True, False], ids=["training", "inference"])
def test_a_transformer_layer(grad):
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    layer.train(grad)
    x, mask = torch.randn(2, 5, 16), torch.zeros(2, 5, dtype=torch.bool)
    mask[1, 3:] = True
    with torch.set_grad_enabled(grad):
        plain = layer(x, src_key_padding_mask=mask)
        with ft.emulate(layer, EXACT) as emulation:
            got = layer(x, src_key_padding_mask=mask)
    places = {("self_attn", "linear"), ("self_attn", "attention"), ("linear1", "linear"), ("linear2", "linear")}
    assert set(emulation.counts) == places
    assert not emulation.left
    assert near(got[~mask], plain[~mask])


def test_attention_with_its_weights():
    torch.manual_seed(0)
    layer, x = torch.nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 5, 8)
    (plain, weights), emulation = layer(x, x, x), ft.emulate(layer, EXACT)
    with emulation:
        got, found = layer(x, x, x)
    assert emulation.counts["", "matmul"] == 2
    assert near(got, plain)
    assert near(found, weights)
