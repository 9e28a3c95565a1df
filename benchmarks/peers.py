"""The same roundings by floatemu and by what else is installed, as named calls on prepared arrays.

One list for the pytest-benchmark file and for the table's script. Peers that are missing are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import floatemu as fe

COUNT = 2**24


@dataclass(frozen=True)
class Case:
    """One timed call; ``group`` collects what is compared, and the group's yardstick is np.copyto."""

    group: str
    name: str
    run: Callable[[], Any]
    count: int = COUNT


def operands(dtype: str, count: int = COUNT) -> np.ndarray:
    """Normally distributed numbers scaled by 8: in e4m3fn they hold normals, subnormals and ties."""
    return (np.random.Generator(np.random.PCG64(0)).standard_normal(count) * 8).astype(dtype)


OTHER_FORMATS = ("e5m2", "bfloat16", "binary16", "e2m1fn", "e8m0fnu")
THEIRS = (
    "ml_dtypes astype(float8_e4m3fn)",
    "torch to(float8_e4m3fn)",
    "torch to(bfloat16)",
    "gfloat round_ndarray ocp_e4m3",
)


def names() -> list[str]:
    """The names of all cases, without preparing any."""
    nearest = fe.Rounding.NEAREST_TIES_TO_EVEN.name
    return [
        "np.copyto",
        *(f"floatemu round e4m3fn {mode.name}" for mode in fe.Rounding),
        *(f"floatemu round {fmt} {nearest}" for fmt in OTHER_FORMATS),
        "floatemu round_with_flags e4m3fn",
        "floatemu encode e4m3fn",
        *THEIRS,
    ]


def ours(dtype: str, fmt: str = "e4m3fn") -> Iterator[Case]:
    """np.copyto, every mode into one format, nearest-even into others, and encode."""
    x = operands(dtype)
    y, codes = np.empty_like(x), np.empty(x.size, np.uint8)
    yield Case(dtype, "np.copyto", lambda: np.copyto(y, x))
    for mode in fe.Rounding:
        seeds = {"seed": 1} if mode.stochastic else {}

        def run(mode: fe.Rounding = mode, seeds: dict[str, int] = seeds) -> Any:
            return fe.round(x, fmt, mode, out=y, **seeds)

        yield Case(dtype, f"floatemu round {fmt} {mode.name}", run)
    for other in OTHER_FORMATS:
        yield Case(dtype, f"floatemu round {other} NEAREST_TIES_TO_EVEN", lambda other=other: fe.round(x, other, out=y))
    yield Case(dtype, f"floatemu round_with_flags {fmt}", lambda: fe.round_with_flags(x, fmt, out=y))
    yield Case(dtype, f"floatemu encode {fmt}", lambda: fe.encode(x, fmt, out=codes))


def theirs(dtype: str) -> Iterator[Case]:
    """Casts of float32 or float64 to 8 bits by ml_dtypes, torch and gfloat."""
    x = operands(dtype)
    try:
        import ml_dtypes
    except ImportError:
        pass
    else:
        small = np.empty(x.size, ml_dtypes.float8_e4m3fn)
        yield Case(dtype, THEIRS[0], lambda: np.copyto(small, x, casting="unsafe"))
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        tensor = torch.from_numpy(x)
        yield Case(dtype, THEIRS[1], lambda: tensor.to(torch.float8_e4m3fn))
        yield Case(dtype, THEIRS[2], lambda: tensor.to(torch.bfloat16))
    try:
        import gfloat
        from gfloat.formats import format_info_ocp_e4m3
    except ImportError:
        pass
    else:
        part = x[: COUNT // 64]  # its temporaries for the whole array would not fit in memory
        yield Case(dtype, THEIRS[3], lambda: gfloat.round_ndarray(format_info_ocp_e4m3, part), part.size)
