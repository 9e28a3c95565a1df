"""Every function of torch that multiplies matrices is made in the recipe, or counted as left; none passes unseen."""

import re

import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch
from torch.nn import functional
from torch.overrides import get_overridable_functions, resolve_name

import floatemu as fe
import floatemu.interop.torch as ft
from floatemu.interop.torch import operations

DRAWN = torch.Generator().manual_seed(1)
SQUARE, BATCH, VECTOR = (torch.rand(shape, generator=DRAWN) + 0.5 for shape in ((4, 4), (2, 4, 4), (4,)))


class Calls(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self):
        return self.function()


HANDLED = {
    "linalg.matmul": lambda: torch.linalg.matmul(BATCH, SQUARE),
    "inner": lambda: torch.inner(BATCH, SQUARE),
    "inner of vectors": lambda: VECTOR.inner(VECTOR),
    "vdot": lambda: torch.vdot(VECTOR, VECTOR),
    "addmv": lambda: torch.addmv(VECTOR, SQUARE, VECTOR, beta=0.5, alpha=2),
    "Tensor.addmv": lambda: VECTOR.addmv(SQUARE, VECTOR),
    "Tensor.addmm": lambda: SQUARE.addmm(SQUARE, SQUARE, alpha=0.5),
    "Tensor.baddbmm": lambda: BATCH.baddbmm(BATCH, BATCH),
    "operands by name": lambda: torch.mm(mat2=SQUARE, input=SQUARE.t()),
    "three operands by name": lambda: torch.addmm(mat2=SQUARE, input=SQUARE, mat1=SQUARE.t()),
    "no result by name": lambda: torch.matmul(SQUARE, other=VECTOR, out=None),
    "a layer by name": lambda: functional.linear(input=BATCH, weight=SQUARE),
}
if hasattr(torch, "foreach"):  # from torch 2.15 on
    HANDLED |= {
        "foreach.mm": lambda: torch.foreach.mm([SQUARE], [SQUARE.t()])[0],
        "_foreach_mm": lambda: torch._foreach_mm((SQUARE,), mat2=[SQUARE])[0],
    }
LEFT = {
    "linalg_multi_dot": lambda: torch.linalg.multi_dot([SQUARE, SQUARE, SQUARE]),
    "linalg_matrix_power": lambda: torch.linalg.matrix_power(SQUARE, 3),
    "linalg_vecdot": lambda: torch.linalg.vecdot(SQUARE, SQUARE),
    "matrix_power": lambda: SQUARE.matrix_power(2),
    "addbmm": lambda: torch.addbmm(SQUARE, BATCH, BATCH),
    "addmm_": lambda: SQUARE.clone().addmm_(SQUARE, SQUARE),
    "addmv_": lambda: VECTOR.clone().addmv_(SQUARE, VECTOR),
    "baddbmm_": lambda: BATCH.clone().baddbmm_(BATCH, BATCH),
    "convolution": lambda: torch.convolution(BATCH, BATCH, None, [1], [0], [1], False, [0], 1),
    "mm": lambda: torch.mm(SQUARE, SQUARE, out=torch.empty(4, 4)),
}


@pytest.mark.parametrize("case", HANDLED)
def test_forms_of_products_are_made_in_the_recipe(case):
    plain = HANDLED[case]()
    for recipe, same in ((ft.Recipe("binary32", "binary32", scaling="none"), True), ("fp8_tensor", False)):
        with ft.emulate(Calls(HANDLED[case]), recipe) as emulation:
            found = emulation.module()
        assert sum(emulation.counts.values()) == 1
        assert not emulation.left
        assert found.shape == plain.shape
        # of positive numbers: sums of at most 16 terms in another order differ by less than 2^-19 of them
        assert bool((found - plain).abs().max() <= 2**-19 * plain.abs().min()) is same


@pytest.mark.parametrize("name", LEFT)
def test_other_forms_are_counted_and_left(name):
    with ft.emulate(Calls(LEFT[name]), "fp8_tensor") as emulation:
        found = emulation.module()
    assert torch.equal(found, LEFT[name]())
    assert emulation.left == {("", name): 1}
    assert not emulation.counts


# what a name says that is no product of matrices, is not for floating operands, or runs on ROCm alone
NOT_PRODUCTS = r"mvlgamma|outer|ger|addr|kron|cdist|fbgemm|quantized|miopen"
NAMES = (
    r"mm_?$|matmul|dot|mv|bilinear|inner|conv|attention|linear|lstm|gru|rnn|matrix_power|einsum|addr|outer|ger_?$|kron"
)


@pytest.mark.filterwarnings("ignore")  # torch warns about old functions while it lists them
def test_no_product_of_torch_passes_unseen():
    known = set(operations.HANDLERS) | operations.LEFT | operations.ENTERED
    names = {resolve_name(f): f for listed in get_overridable_functions().values() for f in listed}
    found = {name: f for name, f in names.items() if name and re.search(NAMES, name.rpartition(".")[2])}
    assert len(found) > 60
    unseen = {name for name, f in found.items() if f not in known and not re.search(NOT_PRODUCTS, name)}
    assert unseen == set()


def test_transforms_are_refused_in_words():
    for transformed in (
        lambda: torch.vmap(lambda x: x @ SQUARE)(BATCH),
        lambda: torch.func.grad(lambda x: torch.mm(x, x).sum())(SQUARE),
    ):
        with (
            ft.emulate(Calls(transformed)) as emulation,
            pytest.raises(fe.ProjectionError, match=r"of torch.func \(vmap"),
        ):
            emulation.module()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_scripted_and_compiled_parts_are_refused():
    linear, compiled = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    compiled.compile(backend="eager")
    for part, what in (
        (torch.jit.script(linear), "a ScriptModule"),
        (torch.compile(linear), "compiled"),
        (compiled, "compiled"),
    ):
        with pytest.raises(fe.UnsupportedError, match=f"0 is {what}, which shows nothing"):
            ft.emulate(torch.nn.Sequential(part))
