"""Look a row of the hardware table up."""

from __future__ import annotations

from typing import Any

from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.matrix.models import UNITS
from floatemu.matrix.unit import Integer, MatrixUnit

INTEGERS = {i.name: i for u in UNITS for i in (u.a, u.output) if isinstance(i, Integer)}
LISTED = 12
"""Rows that an error lists in full."""


def _kind(name: Format | Integer | str) -> Format | Integer:
    if isinstance(name, str) and name.strip().lower() in INTEGERS:
        return INTEGERS[name.strip().lower()]
    return name if isinstance(name, Integer) else get_format(name)


def _plain(word: str) -> str:
    return word.strip().lower().replace(" ", "_").replace("-", "_")


def units(
    gpu: str | None = None,
    inputs: Any = None,
    output: Any = None,
    instruction: str | None = None,
    *,
    scale: Any = "any",
    block: int | None = None,
    shape: str | None = None,
    saturate: bool | None = None,
) -> tuple[MatrixUnit, ...]:
    """Return all rows that fit, in the table's order.

    Parameters
    ----------
    gpu, inputs, output, instruction, scale, block, shape, saturate
        As for :func:`find`; what is not given fits every row, and so does ``scale="any"``.

    Returns
    -------
    tuple of MatrixUnit

    Raises
    ------
    FormatError
        If a format is unknown.
    UnsupportedError
        If no row has this GPU or instruction at all.

    Examples
    --------
    >>> import floatemu as fe
    >>> [u.instruction for u in fe.matrix.units("H100", "e4m3fn", "fp32")]
    ['mma', 'wgmma']
    """
    rows = list(UNITS)
    if gpu is not None:
        known = sorted({name for u in UNITS for name in (u.architecture, *u.gpus)})
        rows = [u for u in rows if _plain(gpu) in map(_plain, (u.architecture, *u.gpus))]
        if not rows:
            raise UnsupportedError(f"no unit is known of gpu={gpu!r}; accepted: {', '.join(known)}")
    if instruction is not None:
        known = sorted({u.instruction for u in UNITS})
        if _plain(instruction) not in known:
            raise UnsupportedError(f"instruction={instruction!r} is unknown; accepted: {', '.join(known)}")
        rows = [u for u in rows if u.instruction == _plain(instruction)]
    if inputs is not None:
        pair = inputs if isinstance(inputs, (tuple, list)) else (inputs, inputs)
        if len(pair) != 2:
            raise FormatError(f"inputs={inputs!r}: give one format for both operands, or a pair of formats")
        a, b = (_kind(name) for name in pair)
        rows = [u for u in rows if (u.a, u.b) == (a, b)]
    if output is not None:
        rows = [u for u in rows if u.output == _kind(output)]
    if scale != "any":
        wanted = None if scale is None else get_format(scale)
        rows = [u for u in rows if u.scale == wanted]
    if block is not None:
        rows = [u for u in rows if u.block == block]
    if shape is not None:
        rows = [u for u in rows if _plain(shape) in map(_plain, u.shapes)]
    if saturate is not None:
        rows = [u for u in rows if getattr(u.step, "saturate", False) == saturate]
    return tuple(rows)


def find(
    gpu: str,
    inputs: Any,
    output: Any = "binary32",
    instruction: str | None = None,
    *,
    scale: Any = None,
    block: int | None = None,
    shape: str | None = None,
    saturate: bool | None = False,
) -> MatrixUnit:
    """Return the one row of the hardware table that fits.

    Parameters
    ----------
    gpu : str
        A device (V100, T4, A100, L40S, H100, H200, B200, RTX_PRO_6000, MI100, MI250, MI300 ...) or an architecture.
    inputs : Format or str, or a pair of them
        Format of both operands, or of each; ``int8``, ``uint8``, ``int4``, ``uint4`` for integers.
    output : Format or str
        Format of the accumulator and the result.
    instruction : str, optional
        ``mma``, ``wgmma``, ``tcgen05`` or ``mfma``.
    scale : Format or str, optional
        Format of the block scales; None: an instruction without.
    block : int, optional
        Products along K that share a scale.
    shape : str, optional
        A shape such as ``m8n8k4``, where it decides.
    saturate : bool
        Whether an integer instruction clamps.

    Returns
    -------
    MatrixUnit

    Raises
    ------
    FormatError
        If a format is unknown.
    UnsupportedError
        If not exactly one row fits; the message lists those that come near.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma").step.fraction
    13
    """
    rows = units(gpu, inputs, output, instruction, scale=scale, block=block, shape=shape, saturate=saturate)
    if len(rows) == 1:
        return rows[0]
    near = rows or units(gpu, inputs) or units(gpu)
    names = [u.name for u in near[:LISTED]] + ([f"and {len(near) - LISTED} more"] if len(near) > LISTED else [])
    found = f"{len(rows)} units fit" if rows else "no unit fits"
    given = {"gpu": gpu, "inputs": inputs, "output": output, "instruction": instruction, "scale": scale}
    text = ", ".join(f"{key}={value!r}" for key, value in given.items() if value is not None)
    way = "say which by instruction=, shape=, scale= or block=" if rows else "near are"
    raise UnsupportedError(f"{found} {text}; {way}: {', '.join(names)}")
