"""Tapes built without torch, each from a few arguments, with the backward pass unrolled."""

from __future__ import annotations

from ..nets.attending import attention
from ..nets.catalogue import NETS, build, describe
from ..nets.gradient import MAX_STEPS, chain
from ..nets.images import cnn
from ..nets.language import llama, transformer
from ..nets.leaves import INITS, orthogonal, uniform
from ..nets.perceptrons import BATCH, mlp, residual_mlp
from ..nets.sequences import gru, lstm, rnn

__all__ = [
    "BATCH",
    "INITS",
    "MAX_STEPS",
    "NETS",
    "attention",
    "build",
    "chain",
    "cnn",
    "describe",
    "gru",
    "llama",
    "lstm",
    "mlp",
    "orthogonal",
    "residual_mlp",
    "rnn",
    "transformer",
    "uniform",
]
