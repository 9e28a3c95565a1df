"""Mitigations of a step: what becomes of gradients before they move the weights, and by how much they do."""

from __future__ import annotations

from dataclasses import replace

from floatemu.errors import UnsupportedError

from ..mitigations.table import NotApplicable, mitigation
from ..optimisers import Adam
from ..training import Accumulation, Clip, Scaler, Setup

__all__ = [
    "adam_epsilon",
    "clip_norm",
    "clip_value",
    "dynamic_loss_scale",
    "gradient_accumulation",
    "learning_rate",
    "loss_scale",
]


@mitigation("training", "exploding")
def clip_norm(setup: Setup, limit: float = 1.0) -> Setup:
    """Scale all gradients of a step so that their common norm is at most a limit.

    Bounds the length of a step, and so keeps training alive where gradients explode in exact arithmetic too. Leaves
    their relative error as it was: every element is multiplied by one number. An infinity is not cut off but becomes
    NaN (inf times 0), and a NaN anywhere makes every gradient NaN.

    Parameters
    ----------
    setup : Setup
    limit : float

    Returns
    -------
    Setup

    Notes
    -----
    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013, algorithm 1; the order
    of operations is that of PyTorch's clip_grad_norm_.
    """
    return replace(setup, clip=Clip("norm", limit))


@mitigation("training", "exploding")
def clip_value(setup: Setup, limit: float = 0.1) -> Setup:
    """Cut each element of a gradient at a limit.

    Bounds steps as clipping by norm does and turns infinities into the limit, but changes the gradient's direction
    wherever it cuts. Leaves NaN, rounding errors and zeros as they are.

    Parameters
    ----------
    setup : Setup
    limit : float

    Returns
    -------
    Setup

    Notes
    -----
    PyTorch's clip_grad_value_, a clamp; Mikolov, Statistical language models based on neural networks, 2012.
    """
    return replace(setup, clip=Clip("value", limit))


@mitigation("training", "exploding")
def learning_rate(setup: Setup, factor: float = 0.1) -> Setup:
    """Multiply the learning rate.

    A lower one keeps training alive where steps are too long for the loss's curvature. It changes no gradient, so it
    cures neither range nor rounding, and where weights are kept in a narrow format it makes things worse: more updates
    fall below half an ulp of their weight and are lost.

    Parameters
    ----------
    setup : Setup
    factor : float

    Returns
    -------
    Setup

    Notes
    -----
    An update is lost to nearest where it is below half an ulp: 2^(floor(log2 w) - p), half of that below a power of
    two; see Gupta et al., Deep learning with limited numerical precision, 2015.
    """
    if not 0 < factor < float("inf"):
        raise UnsupportedError(f"factor={factor!r}; accepted: a finite number above 0")
    return replace(setup, optimizer=replace(setup.optimizer, lr=setup.optimizer.lr * factor))


@mitigation("training", "underflow")
def loss_scale(setup: Setup, scale: float = 2.0**10) -> Setup:
    """Start the backward pass from a constant instead of from 1, and divide the gradients by it afterwards.

    Lifts gradients that would fall below the format into its range; exact as long as nothing leaves the range at
    either end. Cannot widen the range: where one net's gradients span more binades than the format has, no scale
    exists. Does nothing for rounding, for the forward pass, or if the division itself happens in the narrow format.

    Parameters
    ----------
    setup : Setup
    scale : float

    Returns
    -------
    Setup

    Notes
    -----
    Micikevicius et al., Mixed precision training, 2018, section 3.2. A constant scale skips no step: infinities reach
    the weights.
    """
    return replace(setup, scaler=Scaler(scale))


@mitigation("training", "underflow")
def dynamic_loss_scale(setup: Setup, scale: float = 2.0**16, interval: int = 100) -> Setup:
    """Scale the loss by as much as goes: halve the scale and skip the step when a gradient overflows, else raise it.

    Finds the largest usable scale by itself, at the price of the steps it skips, and keeps infinities and NaN of the
    backward pass away from the weights. Where the forward pass overflows, or a gradient is NaN at any scale, it skips
    every step and the scale sinks without end.

    Parameters
    ----------
    setup : Setup
    scale : float
    interval : int

    Returns
    -------
    Setup

    Notes
    -----
    PyTorch's GradScaler (there 2000 good steps before the scale doubles); Micikevicius et al. 2018, section 3.2.
    """
    return replace(setup, scaler=Scaler(scale, interval))


@mitigation("training", "swamping")
def gradient_accumulation(setup: Setup, parts: int = 4, order: str = "pairwise", format: str | None = None) -> Setup:
    """Cut each batch into parts and add up their gradients, in a named order and format.

    Shortens the sums inside matrix products, which is chunked accumulation by another name, and moves the rest of the
    sum to where its order and format can be chosen: pairwise, or in binary32. Sequential addition in the gradients' own
    narrow format swamps again, only later.

    Parameters
    ----------
    setup : Setup
    parts : int
    order : str
        See :class:`floatemu.Order`.
    format : str, optional
        Default that of the gradients.

    Returns
    -------
    Setup

    Notes
    -----
    Error of a sum of n terms: (n - 1) u sequential, ceil(log2 n) u pairwise; Higham, Accuracy and stability of
    numerical algorithms, 2002, section 4.2.
    """
    chosen = Accumulation(parts, order, format)
    if setup.batch % parts:
        raise NotApplicable(f"a batch of {setup.batch} cannot be cut into {parts} equal parts")
    return replace(setup, accumulation=chosen)


@mitigation("training", "adam_epsilon")
def adam_epsilon(setup: Setup, eps: float = 1e-4) -> Setup:
    """Choose Adam's epsilon so that the format can hold it.

    Epsilon stands between a second moment of zero and a division by zero: 1e-8 itself becomes zero in binary16, whose
    least positive number is 6e-8. A larger one keeps updates finite, but shortens those of weights whose gradients are
    small against it. It does not bring back second moments that have been flushed to zero.

    Parameters
    ----------
    setup : Setup
    eps : float

    Returns
    -------
    Setup

    Notes
    -----
    Kingma and Ba, Adam, 2015, algorithm 1; epsilon vanishes to nearest at or below half the least positive number,
    2^-25 in binary16.
    """
    if not isinstance(setup.optimizer, Adam):
        raise NotApplicable(f"the optimiser is {setup.optimizer.text.split(':')[0]}, which has no epsilon")
    return replace(setup, optimizer=replace(setup.optimizer, eps=eps))
