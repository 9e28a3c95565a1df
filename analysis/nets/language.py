"""Language models on synthetic tokens: a transformer with learned positions, and a Llama."""

from __future__ import annotations

import math

from ..nets.attending import attend, check_heads, check_mask
from ..nets.checks import check_choice, check_count, check_flag, check_number, check_seed
from ..nets.layers import BRANCH_SCALES, linear, normalised, scaled_branch
from ..nets.leaves import Leaves, tokens
from ..nets.program import Outcome, record
from ..ops import ACTIVATIONS, Var, cross_entropy, silu
from ..ops.normalise import check_norm
from ..optimisers import Optimiser
from ..tape import Tape

__all__ = ["llama", "transformer"]


def _embedded(leaves: Leaves, text: Var, vocabulary: int, width: int, bound: float) -> Var:
    with leaves.at("embedding") as path:
        table = leaves.drawn(f"{path}.W", (vocabulary, width), bound)
        return table.builder.apply("gather", table, text, axis=0)


def _text(leaves: Leaves, seed: int, batch: int, length: int, vocabulary: int) -> tuple[Var, Var]:
    # each token is to be predicted from those before it
    drawn = tokens(seed, 0, (batch, length + 1), vocabulary)
    with leaves.at("data"):
        return leaves.data("x", "input", drawn[:, :-1]), leaves.data("y", "target", drawn[:, 1:].ravel())


def _loss(leaves: Leaves, logits: Var, labels: Var) -> Outcome:
    batch, length, vocabulary = logits.shape
    with leaves.at("loss"):
        return Outcome(cross_entropy(logits.reshape((batch * length, vocabulary)), labels), logits)


def transformer(
    layers: int = 1,
    width: int = 32,
    heads: int = 4,
    length: int = 16,
    vocabulary: int = 64,
    batch: int = 1,
    activation: str = "gelu",
    seed: int = 0,
    *,
    causal: bool = True,
    mask_value: float = -math.inf,
    padding: int = 0,
    std: float = 0.02,
    eps: float = 1e-5,
    norm: str | None = "layer",
    branch_scale: str | None = None,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record a transformer: learned positions, layer normalisation first, biases, and cross-entropy over tokens.

    Parameters
    ----------
    layers, width, heads, length, vocabulary, batch : int
        The inside of the feed-forward part is four times as wide.
    activation : str
        See :func:`~analysis.nets.mlp`.
    seed : int
        Of weights and tokens.
    causal, mask_value, padding
        See :func:`~analysis.nets.attention`.
    std : float
        Standard deviation of all weights (uniform).
    eps : float
        Of the normalisations.
    norm : str or None
        "layer", "rms", "batch" or "group", or none at all.
    branch_scale : str, optional
        "depth": each branch is divided by the square root of their number, two a layer.
    optimizer, steps
        See :func:`~analysis.nets.mlp`.

    Returns
    -------
    Tape
        Targets "logits", "loss" and "grad:NAME" for each parameter, such as "grad:layer0.attention.q.W".

    Raises
    ------
    UnsupportedError
        If an argument is unknown or out of range.

    Notes
    -----
    The arrangement of GPT-2 (Radford et al. 2019) with the read-out's weights of their own.

    Examples
    --------
    >>> tape = transformer(1, 8, 2, 4, 16)
    >>> tape.targets["grad:layer0.attention.q.W"] in tape.targets.values()
    True
    """
    check_seed(seed)
    check_count(layers=layers, length=length, vocabulary=vocabulary, batch=batch)
    check_heads(width, heads)
    check_mask(mask_value, length, padding)
    check_choice(tuple(ACTIVATIONS), activation=activation)
    check_flag(causal=causal)
    check_number(0.0, 10.0, std=std)
    check_number(0.0, 1.0, eps=eps)
    check_norm(norm)
    check_choice(BRANCH_SCALES, branch_scale=branch_scale)
    limit = math.sqrt(3.0) * std

    def normal(leaves: Leaves, x: Var) -> Var:
        if norm is None:
            return x
        with leaves.at("norm") as path:
            return normalised(leaves, x, norm, f"{path}.gain", f"{path}.bias", eps)

    def program(leaves: Leaves) -> Outcome:
        text, labels = _text(leaves, seed, batch, length, vocabulary)
        x = _embedded(leaves, text, vocabulary, width, limit)
        with leaves.at("positions") as path:
            x = x + leaves.drawn(f"{path}.W", (length, width), limit)
        for index in range(layers):
            with leaves.at(f"layer{index}"):
                with leaves.at("attention"):
                    found = normal(leaves, x)
                    found = attend(leaves, found, heads, limit, causal=causal, mask_value=mask_value, padding=padding)
                x = x + scaled_branch(found, branch_scale, 2 * layers)
                with leaves.at("mlp"):
                    found = normal(leaves, x)
                    with leaves.at("up"):
                        found = linear(leaves, found, 4 * width, limit)
                    with leaves.at(activation):
                        found = ACTIVATIONS[activation](found)
                    with leaves.at("down"):
                        found = linear(leaves, found, width, limit)
                x = x + scaled_branch(found, branch_scale, 2 * layers)
        x = normal(leaves, x)
        with leaves.at("head"):
            logits = linear(leaves, x, vocabulary, limit, bias=False)
        return _loss(leaves, logits, labels)

    facts = {"layers": layers, "width": width, "heads": heads, "length": length, "vocabulary": vocabulary}
    facts |= {"batch": batch, "causal": causal, "padding": padding}
    words = {"activation": activation, "mask_value": repr(float(mask_value)), "data": "synthetic"}
    words |= {} if norm == "layer" else {"norm": str(norm).lower()}
    words |= {} if branch_scale is None else {"branch_scale": branch_scale}
    return record("transformer", program, seed, optimizer, steps, **facts, **words, std=std, eps=eps)


def llama(
    layers: int = 2,
    width: int = 32,
    heads: int = 4,
    kv_heads: int = 2,
    length: int = 16,
    vocabulary: int = 64,
    batch: int = 1,
    seed: int = 0,
    *,
    inner: int | None = None,
    mask_value: float = -math.inf,
    padding: int = 0,
    theta: float = 10_000.0,
    position: int = 0,
    std: float = 0.02,
    eps: float = 1e-6,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record a Llama: RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases.

    Parameters
    ----------
    layers, width, heads, kv_heads, length, vocabulary, batch : int
        Each key and value head serves heads / kv_heads queries.
    seed : int
        Of weights and tokens.
    inner : int, optional
        Width inside SwiGLU; default the even number next to 8/3 of ``width``.
    mask_value, padding
        See :func:`~analysis.nets.attention`.
    theta : float
        Base of the rotary positions.
    position : int
        Of the first token: bfloat16 cannot tell positions beyond 256 apart.
    std : float
        Standard deviation of all weights (uniform).
    eps : float
        Of the normalisations.
    optimizer, steps
        See :func:`~analysis.nets.mlp`.

    Returns
    -------
    Tape
        Targets "logits", "loss" and "grad:NAME" for each parameter, such as "grad:layer0.attention.q.W".

    Raises
    ------
    UnsupportedError
        If an argument is unknown or out of range.

    Notes
    -----
    Touvron et al. 2023, section 2.2, with the read-out's weights of their own.

    Examples
    --------
    >>> sorted(llama(1, 8, 2, 1, 4, 16).targets)[2:5]
    ['grad:layer0.attention.k.W', 'grad:layer0.attention.norm.gain', 'grad:layer0.attention.out.W']
    """
    check_seed(seed)
    check_count(layers=layers, length=length, vocabulary=vocabulary, batch=batch)
    check_heads(width, heads, kv_heads, even=True)
    check_mask(mask_value, length, padding)
    wide = 2 * round(4 * width / 3) if inner is None else inner
    check_count(inner=wide)
    check_number(1.0, 1e300, theta=theta)
    check_number(0, 2**40, position=position)
    check_number(0.0, 10.0, std=std)
    check_number(0.0, 1.0, eps=eps)
    limit = math.sqrt(3.0) * std

    def normal(leaves: Leaves, x: Var) -> Var:
        with leaves.at("norm") as path:
            return normalised(leaves, x, "rms", f"{path}.gain", "", eps)

    def layer(leaves: Leaves, name: str, x: Var, out: int) -> Var:
        with leaves.at(name):
            return linear(leaves, x, out, limit, bias=False)

    def program(leaves: Leaves) -> Outcome:
        text, labels = _text(leaves, seed, batch, length, vocabulary)
        x = _embedded(leaves, text, vocabulary, width, limit)
        for index in range(layers):
            with leaves.at(f"layer{index}"):
                with leaves.at("attention"):
                    x = x + attend(
                        leaves,
                        normal(leaves, x),
                        heads,
                        limit,
                        kv_heads=kv_heads,
                        mask_value=mask_value,
                        padding=padding,
                        bias=False,
                        rope=theta,
                        position=position,
                    )
                with leaves.at("mlp"):
                    found = normal(leaves, x)
                    gate, up = layer(leaves, "gate", found, wide), layer(leaves, "up", found, wide)
                    with leaves.at("silu"):
                        opened = silu(gate) * up
                    x = x + layer(leaves, "down", opened, width)
        logits = layer(leaves, "head", normal(leaves, x), vocabulary)
        return _loss(leaves, logits, labels)

    facts = {"layers": layers, "width": width, "heads": heads, "kv_heads": kv_heads, "length": length}
    facts |= {"vocabulary": vocabulary, "batch": batch, "inner": wide, "padding": padding, "position": position}
    words = {"mask_value": repr(float(mask_value)), "data": "synthetic"}
    return record("llama", program, seed, optimizer, steps, **facts, **words, theta=theta, std=std, eps=eps)
