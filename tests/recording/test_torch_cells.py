"""Recurrent cells that CUDA runs as one kernel: their parts against torch's cells on the CPU, and autograd."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]

from analysis.torch.cells import DECOMPOSITIONS  # noqa: E402

RULES = {str(func.name()).split("::")[1]: rule for func, rule in DECOMPOSITIONS.items()}
N, HIDDEN = 5, 4


def drawn(*shapes: tuple[int, ...]) -> list[Any]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def near(found: Any, wanted: Any) -> bool:
    """Within some roundings of binary64, norm-wise."""
    with torch.no_grad():
        return bool((found - wanted).norm() <= 2**-50 * wanted.norm())


@pytest.mark.parametrize("bias", [True, False])
def test_lstm(bias: bool) -> None:
    cell = torch.nn.LSTMCell(3, HIDDEN, bias=bias).double()
    x, h, c = drawn((N, 3), (N, HIDDEN), (N, HIDDEN))
    given, hidden = (x @ cell.weight_ih.T).detach(), (h @ cell.weight_hh.T).detach()
    given.requires_grad_(), hidden.requires_grad_()
    biases = (cell.bias_ih, cell.bias_hh) if bias else ()
    hy, cy, kept = RULES["_thnn_fused_lstm_cell"](given, hidden, c, *biases)
    assert all(near(one, two) for one, two in zip((hy, cy), cell(x, (h, c)), strict=True))
    of_hy, of_cy = drawn((N, HIDDEN), (N, HIDDEN))
    for a, b in ((of_hy, of_cy), (of_hy, None), (None, of_cy)):
        lost = sum((one * weight).sum() for one, weight in ((hy, a), (cy, b)) if weight is not None)
        wanted = torch.autograd.grad(lost, (given, c, *biases[:1]), retain_graph=True)
        found = RULES["_thnn_fused_lstm_cell_backward_impl"](a, b, c, cy, kept, bias)
        assert (found[2] is None) == (not bias)
        assert all(near(one, two) for one, two in zip(found, wanted, strict=False))


def test_an_lstm_that_nothing_came_back_to_gives_nothing() -> None:
    c, kept = drawn((N, HIDDEN), (N, 4 * HIDDEN))
    assert RULES["_thnn_fused_lstm_cell_backward_impl"](None, None, c, c, kept, True) == (None, None, None)


@pytest.mark.parametrize("bias", [True, False])
def test_gru(bias: bool) -> None:
    cell = torch.nn.GRUCell(3, HIDDEN, bias=bias).double()
    x, h = drawn((N, 3), (N, HIDDEN))
    given, hidden = (x @ cell.weight_ih.T).detach(), (h @ cell.weight_hh.T).detach()
    given.requires_grad_(), hidden.requires_grad_()
    biases = (cell.bias_ih, cell.bias_hh) if bias else ()
    hy, kept = RULES["_thnn_fused_gru_cell"](given, hidden, h, *biases)
    assert near(hy, cell(x, h))
    (of_hy,) = drawn((N, HIDDEN))
    wanted = torch.autograd.grad((hy * of_hy).sum(), (given, hidden, h, *biases))
    found = RULES["_thnn_fused_gru_cell_backward"](of_hy, kept, bias)
    assert (found[3] is None) == (not bias)
    assert all(near(one, two) for one, two in zip(found, wanted, strict=False))
