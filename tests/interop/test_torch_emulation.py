"""Models in a recipe: exact products by hand, structure against torch's own functions, and nothing left behind."""

import copy
import math

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch
from torch.nn import functional
from torch_recipes import near, numbers

import floatemu as fe
import floatemu.interop.torch as ft
from floatemu.interop.torch import operations
from floatemu.interop.torch.products import State, product


def scaled(x, fmt, scale):
    return fe.round(x.numpy().astype(np.float64) * scale, fmt, saturation="SAT_FINITE") / scale


def bits(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_a_linear_layer_by_hand():
    layer = torch.nn.Linear(9, 5, bias=False)
    x, w, g = numbers(6, 9, seed=1).requires_grad_(), numbers(5, 9, seed=2), numbers(6, 5, seed=3)
    layer.weight.data.copy_(w)
    with ft.emulate(layer, "fp8_tensor"):
        y = layer(x)
    y.backward(g)
    # 448 / 7 = 2^6 and 57344 / 7 = 2^13: nothing but the formats rounds.
    qx, qw, qg = scaled(x.detach(), "e4m3fn", 64), scaled(w, "e4m3fn", 64), scaled(g, "e5m2", 2**13)
    for got, want in ((y, qx @ qw.T), (x.grad, qg @ qw), (layer.weight.grad, qg.T @ qx)):
        assert np.array_equal(got.detach().numpy(), want.astype(np.float32))


def test_delayed_scales_come_from_the_calls_before():
    layer = torch.nn.Linear(4, 3, bias=False)
    layer.weight.data.copy_(numbers(3, 4, seed=4))
    recipe, w = ft.Recipe(scaling="delayed", history=2), layer.weight.detach()
    inputs = [numbers(2, 4, seed=s) * factor for s, factor in ((5, 1.0), (6, 0.25), (7, 0.25), (8, 0.25))]
    emulation = ft.emulate(layer, recipe)
    # Scale 1 at first; then from the largest of two calls: 7, 7, and 7 / 4 once the first has left.
    for step, (x, scale) in enumerate(zip(inputs, (1, 64, 64, 256), strict=True)):
        with emulation:
            y = layer(x)
        want = scaled(x, "e4m3fn", scale) @ scaled(w, "e4m3fn", 64 if step else 1).T
        assert np.array_equal(y.detach().numpy(), want.astype(np.float32)), step


def test_each_layer_and_call_has_its_own_history():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    emulation = ft.emulate(model, "fp8_delayed")
    for _ in range(2):
        with emulation:
            model(torch.ones(2, 4)).sum().backward()
    names = {f"{path}#1.{role}" for path in "01" for role in "abg"}
    assert set(emulation._state.amax) == names
    assert {len(seen) for seen in emulation._state.amax.values()} == {2}


def test_zero_and_infinite_tensors_get_scale_1():
    recipe = ft.Recipe()
    amax = torch.tensor([0.0, float("inf"), float("nan"), 1e-45])
    assert recipe.tensor_scale(amax, fe.get_format("e4m3fn")).tolist() == [1.0] * 4
    assert ft.Recipe(margin=1).tensor_scale(torch.tensor(7.0), fe.get_format("e4m3fn")).item() == 32.0


def test_the_scale_of_a_tensor_is_one_division():
    recipe = ft.Recipe()
    amax = torch.rand(1000, generator=torch.Generator().manual_seed(1)) * 3
    # by way of binary64, whose 53 bits are the 2 * 24 + 2 from which on the second rounding does no harm, and more
    wanted = [np.float32(448.0 / one) for one in amax.tolist()]
    assert np.array_equal(recipe.tensor_scale(amax, fe.get_format("e4m3fn")).numpy(), wanted)


def blockwise(x, fmt, size, scale):
    """Block quantization of the rows of a matrix, in plain numpy: the dequantized numbers."""
    fmt = fe.get_format(fmt)
    most = float(fmt.max)
    out = np.zeros(x.shape)
    outer = np.float32(np.abs(x).max()) / np.float32(most * 448)
    for i, row in enumerate(x):
        for k in range(0, len(row), size):
            part = row[k : k + size]
            amax = np.float32(np.abs(part).max())
            if scale == "e8m0fnu":
                factor = 2.0 ** (math.frexp(amax)[1] - 1 - fmt.emax)
            else:
                factor = fe.round(np.float32(amax / np.float32(most)) / outer, "e4m3fn", saturation="SAT_FINITE")
                factor = np.float32(factor) * outer
            out[i, k : k + size] = fe.round(part / np.float32(factor), fmt, saturation="SAT_FINITE").astype(np.float64)
            out[i, k : k + size] *= factor
    return out


@pytest.mark.parametrize("name", ["mxfp8", "nvfp4"])
def test_blocks_along_the_summed_axis(name):
    recipe = ft.RECIPES[name]
    torch.manual_seed(0)
    a, b = torch.randn(3, 40), torch.randn(40, 4)
    want = blockwise(a.numpy(), recipe.forward, recipe.block, recipe.scale)
    want = want @ blockwise(b.T.numpy(), recipe.forward, recipe.block, recipe.scale).T
    got = product(a, b, State(recipe), "")
    assert near(got.double(), torch.from_numpy(want))
    assert not near(a.double() @ b.double(), torch.from_numpy(want))


def test_blocks_with_binary32_scales_by_hand():
    """1 x 2 blocks: each with its own power of two, so that the sums are exact."""
    recipe = ft.Recipe(backward="e4m3fn", scaling="block", block=2)
    a, b = torch.tensor([[7.0, 1.03, 0.4375, 0.1]]), torch.tensor([[1.75], [1.1], [7.0], [3.3]])
    rows = [(a[0, :2], 64), (a[0, 2:], 1024)], [(b[:2, 0], 256), (b[2:, 0], 64)]
    want = sum(scaled(x, "e4m3fn", s) @ scaled(y, "e4m3fn", t) for (x, s), (y, t) in zip(*rows, strict=True))
    assert product(a, b, State(recipe), "").item() == want


def test_weights_have_square_blocks_in_every_product():
    """DeepSeek-V3 (arXiv 2412.19437, 3.3.2): weights 128 by 128, in the forward and in the backward product."""
    assert (ft.RECIPES["fp8_1x128"].weight_rows, ft.RECIPES["fp8_1x128"].block) == (128, 128)
    recipe = ft.Recipe(backward="e4m3fn", scaling="block", block=2, weight_rows=2)
    fmt = fe.BlockFormat("2x2", "e4m3fn", (2, 2), "binary32", "NEAREST_DIVIDE")
    rows = fe.BlockFormat("1x2", "e4m3fn", 2, "binary32", "NEAREST_DIVIDE")
    layer = torch.nn.Linear(5, 3, bias=False)
    torch.manual_seed(0)
    x, g = torch.randn(4, 5, requires_grad=True), torch.randn(4, 3)
    with ft.emulate(layer, recipe):
        y = layer(x)
    y.backward(g)

    def of(tensor, form, axis=-1):
        return fe.quantize(tensor.detach().numpy(), form, axis=axis, scaling="divide").dequantize()

    w = of(layer.weight, fmt)
    want = {"y": of(x, rows) @ w.T, "x": of(g, rows) @ w, "w": of(g, rows, 0).T @ of(x, rows, 0)}
    for found, name in ((y, "y"), (x.grad, "x"), (layer.weight.grad, "w")):
        assert near(found.double(), torch.from_numpy(want[name])), name
    assert not near(y.double(), torch.from_numpy(of(x, rows) @ of(layer.weight, rows).T))


def test_recipes_have_the_scales_of_quantize():
    """One rule, two ways in: tensors in a recipe, and arrays."""
    torch.manual_seed(1)
    x = torch.randn(6, 70) * 10.0 ** torch.arange(-3, 3)[:, None]
    for name, form, rule in (
        ("mxfp8", "mxfp8_e4m3", "FLOOR"),
        ("nvfp4", "nvfp4", "NEAREST_DIVIDE"),
        ("fp8_1x128", "fp8_1x128", "NEAREST_DIVIDE"),
    ):
        recipe = ft.RECIPES[name]
        values, scales, outer = recipe.blocks(x, recipe.forward, False, 0)
        want = fe.quantize(x.numpy(), form, scale_rule=rule, scaling="divide")
        assert outer == want.outer
        assert np.array_equal(scales.double().numpy() * outer, want.scale_values)
        assert np.array_equal(values.flatten(-2)[:, :70].double().numpy(), fe.decode(want.elements, recipe.forward))
    rule = ft.Recipe(scaling="block", scale="e8m0fnu", block=32, scale_rule="RCEIL")
    _, scales, _ = rule.blocks(x, rule.forward, False, 0)
    assert np.array_equal(scales.numpy(), fe.quantize(x.numpy(), "mxfp8", scale_rule="rceil").scale_values)


def test_a_block_with_nan_is_nan():
    x = torch.ones(2, 64)
    x[0, 40] = float("inf")
    for name in ("mxfp8", "nvfp4", "fp8_1x128"):
        y = product(x, torch.ones(64, 3), State(ft.RECIPES[name]), "")
        assert torch.isnan(y[0]).all()
        assert torch.isfinite(y[1]).all()


def test_a_zero_block_stays_zero():
    for name in ("mxfp8", "nvfp4", "fp8_1x128", "fp8_tensor"):
        y = product(torch.zeros(2, 40), torch.ones(40, 3), State(ft.RECIPES[name]), "")
        assert torch.equal(y, torch.zeros(2, 3)), name


def test_matrix_units_make_the_products():
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    recipe = ft.Recipe(backward="e4m3fn", scaling="none", units=(unit,), promote_every=128)
    torch.manual_seed(2)
    a, b = torch.randn(4, 256), torch.randn(256, 3)
    qa, qb = (fe.round(x.numpy(), "e4m3fn", saturation="SAT_FINITE") for x in (a, b))
    got = product(a, b, State(recipe), "")
    assert np.array_equal(got.numpy(), fe.matrix.gemm(unit, qa, qb, promote_every=128))
    with pytest.raises(fe.UnsupportedError, match="no unit of the recipe multiplies e5m2"):
        product(a, b, State(ft.Recipe("e5m2", scaling="none", units=(unit,))), "")


def test_stochastic_gradients_differ_from_step_to_step_and_repeat_with_the_seed():
    def gradients(seed):
        layer = torch.nn.Linear(8, 8, bias=False)
        layer.weight.data.fill_(1.0)
        recipe = ft.Recipe(scaling="none", backward_rounding="stochastic_a", seed=seed)
        found = []
        with ft.emulate(layer, recipe):
            for _ in range(2):
                layer.zero_grad()
                (layer(torch.ones(1, 8)) * 1.1).sum().backward()
                found.append(layer.weight.grad.clone())
        return found

    first, again, other = gradients(1), gradients(1), gradients(2)
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


# Conduct --------------------------------------------------------------------------------------------------------------


def test_nothing_is_left_behind():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    before, plain, x = bits(model), copy.deepcopy(model), torch.randn(3, 6)
    with ft.emulate(model, "fp8_tensor"):
        assert set(model.state_dict()) == set(before)
        inside = model(x)
    assert not torch.equal(inside, plain(x))
    assert torch.equal(model(x), plain(x))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(set(vars(m)) == set(vars(n)) for m, n in zip(model.modules(), plain.modules(), strict=True))


def test_an_exception_in_the_model_leaves_nothing_either():
    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(2, 2)

        def forward(self, x):
            self.inner(x)
            raise KeyError("broken")

    model, other = Broken(), torch.nn.Linear(2, 2)
    emulation = ft.emulate(model, "fp8_tensor")
    with emulation:
        for _ in range(2):
            with pytest.raises(KeyError):
                model(torch.ones(1, 2))
            outside = torch.ones(1, 2) @ torch.tensor([[1.1], [0.0]])
            assert outside.item() == np.float32(1.1)
    assert emulation.counts == {("inner", "linear"): 2}
    assert torch.equal(other(torch.ones(1, 2)), other(torch.ones(1, 2)))


def test_only_the_model_is_emulated():
    model, other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    x = torch.randn(2, 4)
    plain = other(x)
    with ft.emulate(model, "fp8_tensor") as emulation:
        assert torch.equal(other(x), plain)
        assert torch.equal(functional.linear(x, other.weight, other.bias), plain)
    assert not emulation.counts


def test_skipped_modules_and_operations_stay_as_they_are():
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 4), torch.nn.Sequential(torch.nn.Linear(4, 4)), torch.nn.Linear(4, 4)
    )
    for skip, paths in ((("0", "2"), {"1.0"}), (("1",), {"0", "2"}), (("*0",), {"2"}), (("*",), set())):
        with ft.emulate(model, ft.Recipe(skip=skip)) as emulation:
            model(torch.ones(1, 4))
        assert {path for path, _ in emulation.counts} == paths
    with ft.emulate(model, ft.Recipe(operations=("convolution",))) as emulation:
        model(torch.ones(1, 4))
    assert not emulation.counts
    assert set(emulation.left) == {("0", "linear"), ("1.0", "linear"), ("2", "linear")}


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_other_products_are_counted_as_left():
    class Model(torch.nn.Module):
        def forward(self, x):
            return torch.einsum("ii,jk->k", x, x), torch.einsum("ij,jk,kl", x, x, x), torch.tensordot(x, x)

    model, x = Model(), torch.randn(3, 3)
    plain = model(x)
    with ft.emulate(model, "fp8_tensor") as emulation:
        assert all(torch.equal(*pair) for pair in zip(model(x), plain, strict=True))
    assert emulation.left == {("", "einsum"): 2, ("", "tensordot"): 1}
    layer = torch.nn.LSTM(4, 6, proj_size=3)
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(2, 4), torch.ones(1, 4)])
    with ft.emulate(layer, "fp8_tensor") as emulation:
        layer(torch.ones(2, 1, 4))
        layer(packed)
    assert emulation.left == {("", "lstm"): 2}
    assert not emulation.counts


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float64], ids=["bfloat16", "float16", "float64"]
)
def test_models_of_other_dtypes(dtype):
    layer = torch.nn.Linear(9, 5, bias=False).to(dtype)
    x, w = numbers(6, 9, seed=1).to(dtype), numbers(5, 9, seed=2).to(dtype)
    layer.weight.data.copy_(w)
    with ft.emulate(layer, "fp8_tensor"):
        y = layer(x)
    y.float().sum().backward()
    want = scaled(x.float(), "e4m3fn", 64) @ scaled(w.float(), "e4m3fn", 64).T
    assert y.dtype == layer.weight.grad.dtype == dtype
    assert np.array_equal(y.detach().double().numpy(), fe.round(want, str(dtype).removeprefix("torch.")))


def test_backward_after_the_context_is_still_in_the_recipe():
    layer = torch.nn.Linear(3, 1, bias=False)
    layer.weight.data.fill_(1.0)
    with ft.emulate(layer, ft.Recipe(scaling="none")):
        y = layer(torch.full((1, 3), 1.1))
    (y * 1.1).sum().backward()
    # 1.1 is 1.125 in e4m3fn and 1 in e5m2.
    assert layer.weight.grad.tolist() == [[1.125] * 3]


def test_training_in_a_recipe_lowers_the_loss():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    x = torch.randn(64, 8)
    target = x[:, :1] * x[:, 1:2]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    with ft.emulate(model, "mxfp8"):
        for _ in range(60):
            loss = functional.mse_loss(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


BAD = {
    "scaling": ({"scaling": "tensorwise"}, "accepted: none, tensor, delayed, block"),
    "scale": ({"scale": "fp32"}, "binary32"),
    "operation": ({"operations": ("conv2d",)}, "convolution"),
    "block": ({"block": 0}, "from 1 on"),
    "margin": ({"margin": -1}, "from 0 on"),
    "history": ({"history": 1.5}, "from 1 on"),
    "wide": ({"forward": "binary64"}, "float32 must hold"),
    "no zero": ({"backward": "e8m0fnu"}, "zero"),
    "units": ({"units": fe.matrix.UNITS[:1], "scaling": "block", "scale": "e8m0fnu"}, "without scales"),
}


@pytest.mark.parametrize("case", BAD)
def test_recipes_that_make_no_sense(case):
    settings, words = BAD[case]
    with pytest.raises(fe.UnsupportedError, match=words):
        ft.Recipe(**settings)


def test_refusals():
    with pytest.raises(fe.ProjectionError, match="seed"):
        ft.Recipe(rounding="stochastic_a")
    with pytest.raises(fe.UnsupportedError, match="fp8_delayed"):
        ft.emulate(torch.nn.Linear(1, 1), "fp8")
    with pytest.raises(fe.UnsupportedError, match="Module"):
        ft.emulate(lambda x: x)
    emulation = ft.emulate(torch.nn.Linear(1, 1))
    with emulation, pytest.raises(fe.UnsupportedError, match="already active"), emulation:
        pass


def test_what_is_handled_is_not_left():
    assert not set(operations.HANDLERS) & operations.LEFT
