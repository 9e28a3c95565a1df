"""Mitigations of a net: normalisation, initialisation and the scale of residual branches."""

from __future__ import annotations

from dataclasses import replace

from ..mitigations.table import NotApplicable, mitigation
from ..nets.catalogue import takes
from ..training import Setup

__all__ = [
    "batch_norm",
    "group_norm",
    "he_init",
    "layer_norm",
    "lecun_init",
    "orthogonal_init",
    "residual_scaling",
    "rms_norm",
    "small_init",
    "xavier_init",
]


def _with(setup: Setup, key: str, value: object) -> Setup:
    if not takes(setup.net, key):
        raise NotApplicable(f"{setup.net} is built without {key}")
    return replace(setup, arguments={**setup.arguments, key: value})


def _drawn(setup: Setup, init: str) -> Setup:
    changed = _with(setup, "init", init)
    return _with(changed, "rho", 1.0) if takes(setup.net, "rho") else changed  # no factor beside it


@mitigation("net", "vanishing", "overflow")
def batch_norm(setup: Setup) -> Setup:
    """Normalise over the rows of the batch, before each activation.

    Keeps activations, and with them gradients, in range whatever the weights' scale: it cures overflow and
    underflow that come from depth. It does not make rounding errors smaller: a net without residual connections
    that is normalised has larger relative errors than one that is well initialised. Ties the rows of a batch to
    each other, so that small batches add noise of their own.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Ioffe and Szegedy, Batch normalization, 2015, algorithm 1.
    """
    return _with(setup, "norm", "batch")


@mitigation("net", "vanishing", "overflow")
def layer_norm(setup: Setup) -> Setup:
    """Normalise over the features of each row, before each activation.

    Keeps activations, and with them gradients, in range whatever the weights' scale: it cures overflow and
    underflow that come from depth. It does not make rounding errors smaller: a net without residual connections
    that is normalised has larger relative errors than one that is well initialised. The mean is subtracted, which
    cancels where features are nearly equal.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Ba, Kiros and Hinton, Layer normalization, 2016, equation 4.
    """
    return _with(setup, "norm", "layer")


@mitigation("net", "vanishing", "overflow")
def rms_norm(setup: Setup) -> Setup:
    """Normalise by the root mean square of each row, before each activation.

    Keeps activations, and with them gradients, in range whatever the weights' scale: it cures overflow and
    underflow that come from depth. It does not make rounding errors smaller: a net without residual connections
    that is normalised has larger relative errors than one that is well initialised. Subtracts no mean, so that
    nothing cancels there; the cube in its unfused derivative overflows binary16 where the root mean square is
    below 0.025.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Zhang and Sennrich, Root mean square layer normalization, 2019, equation 4.
    """
    return _with(setup, "norm", "rms")


@mitigation("net", "vanishing", "overflow")
def group_norm(setup: Setup) -> Setup:
    """Normalise over groups of features of each row, before each activation.

    Keeps activations, and with them gradients, in range whatever the weights' scale: it cures overflow and
    underflow that come from depth. It does not make rounding errors smaller: a net without residual connections
    that is normalised has larger relative errors than one that is well initialised. Between layer normalisation
    (one group) and one of each feature.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Wu and He, Group normalization, 2018, section 3; four groups.
    """
    return _with(setup, "norm", "group")


@mitigation("net", "exploding")
def xavier_init(setup: Setup) -> Setup:
    """Draw weights with variance 2 / (fan in + fan out).

    Keeps the size of signals in linear and tanh nets; each rectifier halves their mean square, so that deep ReLU
    nets shrink by a factor of sqrt 2 a layer, forward and backward. Sets where a net begins in the range of a
    format; it changes neither the rounding of an operation nor what training does later.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, equation
    16.
    """
    return _drawn(setup, "xavier")


@mitigation("net", "vanishing")
def he_init(setup: Setup) -> Setup:
    """Draw weights with variance 2 / fan in.

    Keeps the size of signals in ReLU nets: it cures underflow that comes from depth there. Too large by sqrt 2 a
    layer for nets without rectifiers. Sets where a net begins in the range of a format; it changes neither the
    rounding of an operation nor what training does later.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    He et al., Delving deep into rectifiers, 2015, equation 10.
    """
    return _drawn(setup, "he")


@mitigation("net", "exploding")
def lecun_init(setup: Setup) -> Setup:
    """Draw weights with variance 1 / fan in.

    Keeps the size of signals in linear nets, as Xavier's does where layers are equally wide. Sets where a net
    begins in the range of a format; it changes neither the rounding of an operation nor what training does later.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    LeCun, Bottou, Orr and Muller, Efficient backprop, 1998, equation 16.
    """
    return _drawn(setup, "lecun")


@mitigation("net", "exploding")
def orthogonal_init(setup: Setup) -> Setup:
    """Draw weights with orthonormal rows or columns.

    Keeps the norm of every signal exactly in linear nets: no direction grows or shrinks, however deep or long.
    Sets where a net begins in the range of a format; it changes neither the rounding of an operation nor what
    training does later.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks, 2014, section 3.
    """
    return _drawn(setup, "orthogonal")


@mitigation("net", "exploding", "overflow")
def small_init(setup: Setup) -> Setup:
    """Draw weights with a tenth of Xavier's bound.

    Keeps residual branches and recurrent states small, so that nothing overflows at first; in a net without
    residual connections it makes signals vanish. Sets where a net begins in the range of a format; it changes
    neither the rounding of an operation nor what training does later.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Zhang, Dauphin and Ma, Fixup initialization, 2019, shrink branches; here every weight.
    """
    return _drawn(setup, "small")


@mitigation("net", "overflow")
def residual_scaling(setup: Setup) -> Setup:
    """Multiply each residual branch by the inverse square root of the number of branches.

    Keeps the stream of a residual net from growing with its depth: variances of branches add up to that of one, where
    each block would double them. Does nothing for nets without residual connections, or for rounding.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Hanin and Rolnick, How to start training, 2018; Radford et al., Language models are unsupervised multitask
    learners, 2019, section 2.3, scale the weights instead.
    """
    return _with(setup, "branch_scale", "depth")
