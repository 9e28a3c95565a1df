"""Gradients through a rounding: straight, clipped, rounded to a format of their own."""

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch

import floatemu as fe
import floatemu.interop.torch as ft

X = torch.tensor([0.1, -3.3, 448.0, 449.0, -500.0, float("inf"), float("nan"), 0.0])
G = torch.tensor([1.1, 2.3, 3.7, 4.9, 5.3, 6.1, 7.7, 1e-9])


def gradient(x, upstream, **settings):
    leaf = x.clone().requires_grad_()
    y = ft.ste_round(leaf, **settings)
    y.backward(upstream)
    return y.detach(), leaf.grad


def test_values_are_those_of_round():
    y, _ = gradient(X, G, fmt="e4m3fn", saturation="SAT_FINITE")
    assert np.array_equal(y.numpy(), ft.round(X, "e4m3fn", saturation="SAT_FINITE").numpy(), equal_nan=True)


def test_straight_through_leaves_the_gradient_alone():
    assert torch.equal(gradient(X, G, fmt="e4m3fn")[1], G)


def test_clipping_stops_what_is_out_of_range_and_nan():
    inside = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1]).bool()
    assert torch.equal(gradient(X, G, fmt="e4m3fn", clip=True)[1], torch.where(inside, G, 0.0))


def test_clipping_of_an_unsigned_format_stops_negative_numbers():
    fmt = fe.p3109(8, 4, signed=False)
    assert gradient(X[:2], G[:2], fmt=fmt, clip=True)[1].tolist() == [G[0].item(), 0.0]


@pytest.mark.parametrize("clip", [False, True])
def test_the_gradient_is_rounded_to_its_own_format(clip):
    _, found = gradient(X, G, fmt="e4m3fn", backward="e5m2", clip=clip)
    stays = gradient(X, torch.ones(8), fmt="e4m3fn", clip=clip)[1] != 0
    want = np.where(stays, fe.round(G.numpy(), "e5m2"), np.float32(0))
    assert found.numpy().tobytes() == want.tobytes()


def test_stochastic_gradients_have_random_bits_of_their_own():
    x = torch.full((512,), 1.03)
    y, g = gradient(x, x, fmt="e4m3fn", backward="e4m3fn", rounding="stochastic_a", seed=1, stream=5)
    assert np.array_equal(y.numpy(), fe.round(x.numpy(), "e4m3fn", "stochastic_a", seed=1, stream=5))
    assert np.array_equal(g.numpy(), fe.round(x.numpy(), "e4m3fn", "stochastic_a", seed=1, stream=5 + 2**63))
    assert not torch.equal(y, g)
    assert len(set(g.tolist())) == 2


def test_the_gradient_check_of_a_composition():
    """With values of the format the function is flat between them: the check runs on the estimator's own function."""
    x = torch.tensor([0.3, -0.7, 2.0], dtype=torch.float64, requires_grad=True)

    def through(x):
        y = ft.ste_round(x, "binary64")  # rounds nothing: its derivative is exactly 1
        return (y * y * torch.sin(y)).sum()

    assert torch.autograd.gradcheck(through, (x,))
    assert torch.autograd.gradgradcheck(through, (x,))


def test_second_derivatives_pass_clipped():
    x = torch.tensor([2.0, 600.0], requires_grad=True)
    (first,) = torch.autograd.grad(
        (ft.ste_round(x, "e4m3fn", clip=True, saturation="SAT_FINITE") ** 3).sum(), x, create_graph=True
    )
    (second,) = torch.autograd.grad(first.sum(), x)
    assert first.tolist() == [12.0, 0.0]
    assert second.tolist() == [12.0, 0.0]


def test_narrow_tensors_keep_their_dtype():
    x = torch.tensor([1.1, 2.2], dtype=torch.bfloat16, requires_grad=True)
    y = ft.ste_round(x, "e5m2", backward="e4m3fn")
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert x.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "settings", [{"fmt": "bfloat16"}, {"fmt": "e5m2", "backward": "bfloat16"}], ids=["fmt", "backward"]
)
def test_a_dtype_that_does_not_hold_the_format_is_refused(settings):
    with pytest.raises(fe.UnsupportedError, match="does not hold every value of bfloat16"):
        ft.ste_round(torch.ones(2, dtype=torch.float16), **settings)


def test_a_tensor_without_gradient_stays_so():
    assert not ft.ste_round(torch.ones(2), "e5m2").requires_grad
