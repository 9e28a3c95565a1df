"""Mitigations of a policy: which results keep more bits or more range, and how they are rounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import floatemu as fe

from ..mitigations.table import NotApplicable, mitigation
from ..optimisers import Adam
from ..policy import Numerics, Policy, Rule
from ..training import Setup
from ..training.setup import update_numerics

__all__ = [
    "autocast",
    "chunked_accumulation",
    "float32_loss",
    "kahan_updates",
    "master_weights",
    "per_tensor_scaling",
    "promoted_accumulation",
    "stochastic_rounding",
    "stochastic_updates",
]

FULL = Numerics(result="binary32")
STOCHASTIC = fe.Rounding.STOCHASTIC_C


def _first(policy: Policy, word: str, *rules: Rule) -> Policy:
    return replace(policy, name=f"{policy.name}+{word}", rules=(*rules, *policy.rules))


def _each(policy: Policy, word: str, change: Callable[[Numerics], Numerics]) -> Policy:
    rules = tuple(replace(rule, numerics=change(rule.numerics)) for rule in policy.rules)
    return replace(policy, name=f"{policy.name}+{word}", rules=rules)


@mitigation("policy", "stagnation", "adam_epsilon")
def master_weights(policy: Policy) -> Policy:
    """Keep weights and the optimiser's numbers in binary32, and cast the weights for each forward pass.

    Cures lost updates: steps too small for the narrow format add up in the wide copy until the cast sees them. Gives
    the optimiser's own arithmetic (Adam's second moment and epsilon, unscaling) binary32's range too. Leaves forward
    and backward pass as they are, and costs four bytes a weight.

    Parameters
    ----------
    policy : Policy

    Returns
    -------
    Policy

    Notes
    -----
    Micikevicius et al., Mixed precision training, 2018, section 3.1.
    """
    return _first(policy, "master", Rule(FULL, direction="update"))


@mitigation("policy")
def float32_loss(policy: Policy) -> Policy:
    """Compute loss, softmax and normalisations in binary32, and add up sums there.

    Keeps exponentials, their sums and squares in range, and long sums from stopping. Does nothing for matrix products
    and for the weights.

    Parameters
    ----------
    policy : Policy

    Returns
    -------
    Policy

    Notes
    -----
    Micikevicius et al., Mixed precision training, 2018, section 3.3: reductions in binary32.
    """
    return _first(policy, "loss32", Rule(FULL, path="*loss*|*softmax*|*norm*"), Rule(FULL, op="sum"))


@mitigation("policy", "stagnation", "swamping", "adam_epsilon")
def autocast(policy: Policy) -> Policy:
    """Choose the format by operation: narrow matrix products with binary32 sums; loss, norms and weights in binary32.

    Master weights, wide accumulators and a binary32 loss in one. What lies between matrix products stays narrow, with
    its range and its rounding: gradients that underflow there still need a loss scale.

    Parameters
    ----------
    policy : Policy

    Returns
    -------
    Policy

    Notes
    -----
    PyTorch's torch.amp, 2020, after Micikevicius et al., Mixed precision training, 2018; the arithmetic is that of
    :meth:`analysis.policy.Policy.mixed`.
    """
    compute = policy.rules[-1].numerics.format
    if compute is None or compute.p >= 24:
        raise NotApplicable(f"{policy.name} computes in {'binary64' if compute is None else compute.name} already")
    mixed = Policy.mixed(compute)
    return Policy(f"{policy.name}+autocast", mixed.rules, policy.seed)


@mitigation("policy", "stagnation")
def stochastic_updates(policy: Policy, bits: int = 16) -> Policy:
    """Round the sum of weight and update up or down at random, with odds that make its mean exact.

    Cures lost updates on average, without a wider copy: a step of a tenth of an ulp moves the weight by an ulp every
    tenth time. Adds noise of up to an ulp to every weight in every step; leaves gradients as they are.

    Parameters
    ----------
    policy : Policy
    bits : int
        Random bits.

    Returns
    -------
    Policy

    Notes
    -----
    Gupta et al., Deep learning with limited numerical precision, 2015; Connolly, Higham and Mary, SIAM Journal on
    Scientific Computing 43(1), 2021.
    """
    numerics = update_numerics(policy, "sub")
    chosen = replace(numerics, projection=fe.Projection(STOCHASTIC, numerics.projection.saturation, bits))
    return _first(policy, "sr_updates", Rule(chosen, op="sub", path="optimizer*", direction="update"))


@mitigation("policy", "stagnation", "swamping")
def stochastic_rounding(policy: Policy, bits: int = 16) -> Policy:
    """Round every result up or down at random, with odds that make its mean exact.

    Takes the bias out of all roundings: sums keep growing where rounding to nearest stops, updates arrive on average.
    Each single rounding has up to twice the error, so that what was accurate becomes noisier. Does nothing for the top
    of the range; below its bottom, gradients become zero or the least number at random.

    Parameters
    ----------
    policy : Policy
    bits : int
        Random bits.

    Returns
    -------
    Policy

    Notes
    -----
    Connolly, Higham and Mary, Stochastic rounding and its probabilistic backward error analysis, SIAM Journal on
    Scientific Computing 43(1), 2021: sums keep their mean for every data set, the error bound grows with the square
    root of the number of terms.
    """

    def change(numerics: Numerics) -> Numerics:
        return replace(numerics, projection=fe.Projection(STOCHASTIC, numerics.projection.saturation, bits))

    return _each(policy, "sr", change)


@mitigation("training", "stagnation")
def kahan_updates(setup: Setup) -> Setup:
    """Keep what an addition to a weight could not take, and add it to the next update.

    Cures lost updates in the narrow format itself, at the price of a second narrow number for each weight. Leaves
    gradients as they are.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    Setup

    Notes
    -----
    Kahan, Further remarks on reducing truncation errors, 1965; Zamirai et al., Revisiting bfloat16 training, 2020,
    section 4.
    """
    if isinstance(setup.optimizer, Adam) and setup.optimizer.decoupled and setup.optimizer.weight_decay:
        raise NotApplicable("AdamW multiplies the weights themselves, which is no addition to compensate")
    return replace(setup, compensated=True)


@mitigation("policy", "swamping")
def chunked_accumulation(policy: Policy, length: int = 32) -> Policy:
    """Add sums and matrix products in blocks, then the blocks' sums, all in the same narrow accumulator.

    Cures swamping: no partial sum grows by more than the square root of what it did, if blocks are as long as there are
    blocks. Costs nothing but another order. Does nothing where sums are short, or for the range.

    Parameters
    ----------
    policy : Policy
    length : int
        Of a block.

    Returns
    -------
    Policy

    Notes
    -----
    Wang et al., Training deep neural networks with 8-bit floating point numbers, 2018, section 2.3: error
    (length + n / length) u instead of n u.
    """

    def change(numerics: Numerics) -> Numerics:
        return numerics if numerics.accumulate is None else replace(numerics, order=f"blocked({length})")

    _needs_accumulator(policy)
    return _each(policy, f"blocked({length})", change)


@mitigation("policy", "swamping")
def promoted_accumulation(policy: Policy) -> Policy:
    """Keep the partial sums of sums and matrix products in binary32.

    Cures swamping and overflow inside sums, up to 2^24 terms of one size. Operands and results stay in their formats,
    with their range and their rounding.

    Parameters
    ----------
    policy : Policy

    Returns
    -------
    Policy

    Notes
    -----
    DeepSeek-AI, DeepSeek-V3 technical report, 2024, section 3.3.2, promotes every 128 terms; the mixed-precision bounds
    are those of Blanchard, Higham, Lopez, Mary and Pranesh, SIAM Journal on Scientific Computing 42(3), 2020.
    """

    def change(numerics: Numerics) -> Numerics:
        return numerics if numerics.accumulate is None else replace(numerics, accumulate="binary32")

    _needs_accumulator(policy)
    return _each(policy, "promoted", change)


def _needs_accumulator(policy: Policy) -> None:
    if all(rule.numerics.accumulate is None for rule in policy.rules):
        raise NotApplicable(f"{policy.name} rounds each sum once: it has no accumulator")


@mitigation("policy", "underflow")
def per_tensor_scaling(policy: Policy) -> Policy:
    """Multiply each tensor by a power of two that brings its largest element to the top of the format, round, divide.

    Gives every tensor its own place in the range, forward and backward, so that only tensors that are wider than the
    format lose elements. Does nothing for rounding: a power of two changes no significand.

    Parameters
    ----------
    policy : Policy

    Returns
    -------
    Policy

    Notes
    -----
    Micikevicius et al., FP8 formats for deep learning, 2022, section 3; with operands in a format of their own they
    alone are scaled, as in FP8 recipes, else every result.
    """

    def change(numerics: Numerics) -> Numerics:
        apart = numerics.operands is not None and numerics.operands != numerics.result
        return replace(numerics, scaling="operands" if apart else "all")

    return _each(policy, "scaled", change)
