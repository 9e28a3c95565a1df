"""How far an approximate implementation may be off: kappa (P3109 v4.0, 4.4 and annex D)."""

from __future__ import annotations

from typing import Any

import numpy as np

from floatemu.codec import encode
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.landmarks import isrepresentable
from floatemu.p3109_ops.engine import decoded, standard_format


def kappa(defined: Any, approximate: Any, fmt: Format | str) -> float:
    """Return kappa of approximate results: by how many finite values of the format they miss the defined ones, at most.

    NaN if for some input one result is NaN and the other is not; else infinity if they disagree on being
    finite, or on the sign of an infinity; else the greatest number of finite values in (a, b] or [b, a) between the
    two results. An operation specialization that has not kappa = 0 must not bear the operation's name, and declares it.

    Parameters
    ----------
    defined, approximate : array_like
        Results for the same inputs, all of them or those of one piece, as values of the format.
    fmt : Format or str

    Returns
    -------
    float
        A whole number, infinity or NaN.

    Raises
    ------
    FormatError
        If P3109 does not know the format.
    UnsupportedError
        If the shapes differ, or the format does not hold a result.

    Examples
    --------
    >>> import floatemu as fe
    >>> x = fe.values("binary8p4se")
    >>> near, cut = fe.p3109_ops.Convert(x, "binary4p2sf"), fe.p3109_ops.Convert(x, "binary4p2sf", "TowardZero")
    >>> kappa(near, cut, "binary4p2sf")
    1.0
    """
    found = standard_format(fmt)
    exact, near = np.asarray(decoded(defined, "defined")), np.asarray(decoded(approximate, "approximate"))
    if exact.shape != near.shape:
        raise UnsupportedError(f"defined has shape {exact.shape}, approximate {near.shape}; they belong together")
    for name, values in (("defined", exact), ("approximate", near)):
        if not np.all(isrepresentable(values, found)):
            raise UnsupportedError(f"{name} holds numbers that are no values of {found.name}; project them first")
    if np.any(np.isnan(exact) != np.isnan(near)):
        return float("nan")
    finite = np.isfinite(exact)
    signs = np.sign(exact[np.isinf(exact)]), np.sign(near[np.isinf(exact)])
    if np.any(finite != np.isfinite(near)) or np.any(signs[0] != signs[1]):
        return float("inf")
    steps = [abs(a - b) for a, b in zip(_places(exact[finite], found), _places(near[finite], found))]
    return float(max(steps, default=0))


def _places(values: Any, fmt: Format) -> list[int]:
    """Places in the order of the format's finite values, 0 at zero; Python integers, as codes may have 64 bits."""
    codes = [int(code) for code in np.asarray(encode(values, fmt))]
    return [fmt.sign_code - code if fmt.signed and code > fmt.sign_code else code for code in codes]
