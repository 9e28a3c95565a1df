"""THE TABLE of named formats, one literal each, and look-up by name and alias."""

from __future__ import annotations

import re
from types import MappingProxyType

from floatemu.errors import FormatError
from floatemu.format import Format, Overflow, as_integer

_TABLE: tuple[tuple[Format, str], ...] = (
    # IEEE 754-2019 interchange formats (table 3.5), and the formats with the same layout rules.
    (Format("binary16", k=16, p=11, high_nans=2**10 - 1), "fp16 float16 half f16 e5m10"),
    (Format("binary32", k=32, p=24, high_nans=2**23 - 1), "fp32 float32 single f32 float e8m23"),
    (Format("binary64", k=64, p=53, high_nans=2**52 - 1), "fp64 float64 double f64 e11m52"),
    (Format("bfloat16", k=16, p=8, high_nans=2**7 - 1), "bf16 brain e8m7"),
    (Format("tf32", k=19, p=11, high_nans=2**10 - 1), "tensorfloat32 tensorfloat e8m10"),
    # OCP 8-bit Floating Point Specification (OFP8) 1.0, tables 1 and 2.
    (Format("e4m3fn", k=8, p=4, infinities=False, high_nans=1), "ocp_e4m3 fp8_e4m3fn fp8e4m3fn e4m3_fn"),
    (Format("e5m2", k=8, p=3, high_nans=3), "ocp_e5m2 fp8_e5m2 fp8e5m2"),
    # IEEE-style 8-bit formats of ml_dtypes.
    (Format("e4m3", k=8, p=4, high_nans=7), "fp8_e4m3 fp8e4m3"),
    (Format("e3m4", k=8, p=5, high_nans=15), "fp8_e3m4 fp8e3m4"),
    # FNUZ: no infinities, no -0, NaN in its place (Noune et al. 2022; AMD CDNA3), and Google's bias-11 one.
    (Format("e4m3fnuz", k=8, p=4, bias=8, negative_zero=False, infinities=False), "fp8_e4m3fnuz s1e4m3"),
    (Format("e5m2fnuz", k=8, p=3, bias=16, negative_zero=False, infinities=False), "fp8_e5m2fnuz s1e5m2"),
    (Format("e4m3b11fnuz", k=8, p=4, bias=11, negative_zero=False, infinities=False), "fp8_e4m3b11fnuz e4m3b11"),
    # OCP Microscaling (MX) 1.0, tables 3 to 6: no special values but E8M0's NaN.
    (
        Format("e8m0fnu", k=8, p=1, bias=127, signed=False, zero=False, infinities=False, high_nans=1),
        "e8m0 ue8m0 ocp_e8m0 fp8_e8m0fnu",
    ),
    (Format("e2m3fn", k=6, p=4, infinities=False), "e2m3 ocp_e2m3 fp6_e2m3 fp6_e2m3fn"),
    (Format("e3m2fn", k=6, p=3, infinities=False), "e3m2 ocp_e3m2 fp6_e3m2 fp6_e3m2fn"),
    (Format("e2m1fn", k=4, p=2, infinities=False), "e2m1 ocp_e2m1 fp4 fp4_e2m1 fp4_e2m1fn"),
)

FORMATS = MappingProxyType({fmt.name: fmt for fmt, _ in _TABLE})
"""Read-only mapping from canonical name to :class:`Format`, in the table's order."""

ALIASES = MappingProxyType({fmt.name: tuple(words.split()) for fmt, words in _TABLE})
"""Read-only mapping from canonical name to the aliases written in the table."""

_PREFIXES = ("float8_", "float6_", "float4_", "torch.", "ml_dtypes.", "numpy.", "np.")
_P3109 = re.compile(r"(?:p3109_k|binary)(\d{1,2})p(\d{1,2})([su])([ef])")
_P3109_GFLOAT = re.compile(r"p3109_(\d{1,2})p(\d{1,2})")


def _normal(name: str) -> str:
    key = name.strip().lower().replace("-", "_")
    changed = True
    while changed:
        changed = False
        for prefix in _PREFIXES:
            if key.startswith(prefix) and len(key) > len(prefix):
                key, changed = key[len(prefix) :], True
    return key


def _index() -> dict[str, Format]:
    index: dict[str, Format] = {}
    for fmt, words in _TABLE:
        for word in (fmt.name, *words.split()):
            if index.setdefault(_normal(word), fmt) is not fmt:
                raise AssertionError(f"alias {word!r} names two formats")
    return index


_INDEX = _index()


def p3109(k: int, p: int, signed: bool = True, extended: bool = True) -> Format:
    """Return the IEEE P3109 v4.0 format of width k and precision p.

    Bias 2^(k-p-1) signed, 2^(k-p) unsigned; no -0; NaN at code 2^(k-1) signed, 2^k - 1 unsigned;
    infinities at the ends of the range of an extended format; overflow to infinity in extended
    formats and to the largest finite value in finite ones (P3109 v4.0, sections 3 and 4.14).

    Parameters
    ----------
    k : int
        Width in bits, k >= 3.
    p : int
        Precision, 1..k-1 signed, 1..k unsigned.
    signed : bool
        Signed (``s``) or unsigned (``u``).
    extended : bool
        With infinities (``e``) or finite (``f``).

    Returns
    -------
    Format
        Named ``binary<k>p<p><s|u><e|f>``.

    Raises
    ------
    FormatError
        If k and p are outside the standard's limits, or this library's (p <= 53, 15 exponent bits).

    Examples
    --------
    >>> f = p3109(8, 4)
    >>> f.name, float(f.max), f.nan_code, f.inf_code
    ('binary8p4se', 224.0, 128, 127)
    """
    k, p = as_integer(k, "p3109: k"), as_integer(p, "p3109: p")
    name = f"binary{k}p{p}{'s' if signed else 'u'}{'e' if extended else 'f'}"
    top = k - 1 if signed else k
    if k < 3 or not 1 <= p <= top:
        raise FormatError(
            f"{name}: P3109 needs k >= 3 and 1 <= p <= {'k - 1' if signed else 'k'} for "
            f"{'a signed' if signed else 'an unsigned'} format; given k = {k}, p = {p}"
        )
    return Format(
        name,
        k=k,
        p=p,
        bias=2 ** (k - p - 1) if signed else 2 ** (k - p),
        signed=signed,
        negative_zero=False,
        infinities=extended,
        high_nans=0 if signed else 1,
        overflow=Overflow.INFINITY if extended else Overflow.MAX,
    )


def get_format(name: str | Format) -> Format:
    """Return the format of that name or alias; a :class:`Format` is returned as it is.

    Parameters
    ----------
    name : str or Format
        A name from ``FORMATS``, an alias of ml_dtypes, gfloat, torch or common speech
        ("float8_e4m3fn", "ocp_e4m3", "half" ...), or a P3109 name ("binary8p3se"). Case, the
        prefixes ``float8_``, ``float6_``, ``float4_`` and ``torch.``, and - for _ do not matter.

    Returns
    -------
    Format

    Raises
    ------
    FormatError
        If nothing has that name; the message lists the names that come near.

    Notes
    -----
    ``e4m3`` is the IEEE-style format of ml_dtypes (largest value 240); OCP's E4M3 (448) is ``e4m3fn``.

    Examples
    --------
    >>> get_format("float8_e4m3fn").name, get_format("Half").name, get_format("Binary8p3se").name
    ('e4m3fn', 'binary16', 'binary8p3se')
    """
    if isinstance(name, Format):
        return name
    if not isinstance(name, str):
        raise FormatError(f"a format is a floatemu.Format or its name; given {name!r} of type {type(name).__name__}")
    key = _normal(name)
    if key in _INDEX:
        return _INDEX[key]
    if match := _P3109.fullmatch(key):
        k, p, sign, domain = match.groups()
        return p3109(int(k), int(p), signed=sign == "s", extended=domain == "e")
    if match := _P3109_GFLOAT.fullmatch(key):
        return p3109(int(match[1]), int(match[2]))
    import difflib

    near = list(dict.fromkeys(_INDEX[word].name for word in difflib.get_close_matches(key, _INDEX, n=4, cutoff=0.4)))
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise FormatError(
        f"no format is named {name!r}; {hint}accepted: {', '.join(FORMATS)}, their aliases, "
        "and P3109 names such as binary8p3se (`floatemu formats` lists all)"
    )
