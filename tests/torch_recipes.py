"""What tests of models in a recipe share. Importable only with torch."""

import numpy as np
import torch

import floatemu.interop.torch as ft

EXACT = ft.Recipe("binary32", "binary32", scaling="none")
"""Rounds nothing: what is left is the structure of the operations."""


def numbers(*shape, seed=0):
    """Of magnitudes 1 to 7, 7 included: scaled to e4m3fn or e5m2 they become 64 to 448, or a power of two times that,
    where the formats' quanta are so large that sums of products are exact in binary32."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(1, 7, shape) * rng.choice([-1.0, 1.0], shape)
    x.reshape(-1)[0] = 7.0
    return torch.from_numpy(x.astype(np.float32))


def near(actual, expected):
    """Norm-wise, for sums whose order differs."""
    with torch.no_grad():
        return float((actual - expected).norm()) <= 2**-19 * float(expected.norm())
