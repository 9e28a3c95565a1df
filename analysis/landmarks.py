"""Formats as facts: the table of all named ones, and the landmarks of one (behind ``floatemu formats``)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import floatemu as fe

from .numerals import decimal, dyadic
from .terminal import BadInput

if TYPE_CHECKING:
    from rich.console import Console

E4M3_NOTE = (
    "note: 'e4m3' is the IEEE-style format of ml_dtypes (largest value 240, with infinities); "
    "OCP's E4M3 (largest value 448) is 'e4m3fn'"
)


def find(name: str) -> fe.Format:
    """Return the format of that name.

    Parameters
    ----------
    name : str
        A name, an alias, or a P3109 name.

    Returns
    -------
    Format

    Raises
    ------
    BadInput
        If nothing has that name.

    Examples
    --------
    >>> find("half").name
    'binary16'
    """
    try:
        return fe.get_format(name)
    except fe.FormatError as error:
        raise BadInput(
            str(error),
            given=name,
            accepted=[*fe.FORMATS, "binary<k>p<p><s|u><e|f> (P3109)"],
            hint="`floatemu formats` lists all",
        ) from None


def notes(names: list[str]) -> list[str]:
    """Return what should be said about the names a user chose.

    Parameters
    ----------
    names : list of str

    Returns
    -------
    list of str

    Examples
    --------
    >>> notes(["bf16"]), len(notes(["E4M3"]))
    ([], 1)
    """
    ieee = fe.FORMATS["e4m3"]
    return [E4M3_NOTE] if any(fe.get_format(name).name == ieee.name for name in names) else []


def bits(code: int, fmt: fe.Format) -> str:
    """Return a code as a hexadecimal text, as wide as the format.

    Parameters
    ----------
    code : int
    fmt : Format

    Returns
    -------
    str

    Examples
    --------
    >>> bits(1, fe.get_format("binary16"))
    '0x0001'
    """
    return f"{code:#0{2 + (fmt.k + 3) // 4}x}"


def value_of(code: int, fmt: fe.Format) -> Fraction | str:
    """Return the value of a code, exactly.

    Parameters
    ----------
    code : int
        0..2^k - 1.
    fmt : Format

    Returns
    -------
    Fraction or str
        A finite value (-0 as 0), or "inf", "-inf", "nan".

    Examples
    --------
    >>> value_of(0x7E, fe.get_format("e4m3fn")), value_of(0xFF, fe.get_format("e4m3fn"))
    (Fraction(448, 1), 'nan')
    """
    negative = code & fmt.sign_code != 0
    magnitude = code & ~fmt.sign_code if fmt.signed else code
    if negative and magnitude == 0 and not fmt.negative_zero:
        return "nan"
    if magnitude <= fmt.max_code:
        significand, quantum = fmt.scaled(magnitude)
        value = significand * Fraction(2) ** quantum
        return -value if negative else value
    if magnitude == fmt.inf_code:
        return "-inf" if negative else "inf"
    return "nan"


def number(value: Fraction) -> float | str:
    """Return a value as a JSON number where binary64 holds it, else as an exact text.

    Parameters
    ----------
    value : Fraction
        An odd integer times a power of two.

    Returns
    -------
    float or str

    Examples
    --------
    >>> number(Fraction(1, 2)), number(Fraction(2) ** 20000)
    (0.5, '2^20000')
    """
    try:
        near = float(value)
    except OverflowError:
        return dyadic(value)
    return near if Fraction(near) == value else dyadic(value)


def point(code: int, fmt: fe.Format) -> dict[str, Any]:
    """Return a code with its value.

    Parameters
    ----------
    code : int
    fmt : Format

    Returns
    -------
    dict
        ``code`` ("0x7e"), ``value`` (a number; "inf", "-inf", "nan"; or an exact text where binary64
        does not hold it) and ``exact`` ("7*2^6"; None for infinities and NaN).

    Examples
    --------
    >>> point(0x7E, fe.get_format("e4m3fn"))
    {'code': '0x7e', 'value': 448.0, 'exact': '7*2^6'}
    """
    value = value_of(code, fmt)
    if isinstance(value, str):
        return {"code": bits(code, fmt), "value": value, "exact": None}
    if value == 0 and code & fmt.sign_code:
        return {"code": bits(code, fmt), "value": -0.0, "exact": "-0"}
    return {"code": bits(code, fmt), "value": number(value), "exact": dyadic(value)}


def landmarks(fmt: fe.Format) -> dict[str, Any]:
    """Return a format's numbers and the codes and values that mark its range.

    Parameters
    ----------
    fmt : Format

    Returns
    -------
    dict
        The format's parameters, and under ``landmarks`` its zero, smallest, largest and special codes.

    Examples
    --------
    >>> landmarks(fe.get_format("e4m3fn"))["landmarks"]["max"]
    {'code': '0x7e', 'value': 448.0, 'exact': '7*2^6'}
    """
    assert isinstance(fmt.overflow, fe.Overflow)
    normal = 2**fmt.trailing_bits if fmt.zero else 0
    codes = {
        "zero": 0 if fmt.zero else None,
        "negative_zero": fmt.sign_code if fmt.negative_zero else None,
        "min_positive": 1 if fmt.subnormals else normal,
        "min_normal": normal if normal <= fmt.max_code else None,
        "max": fmt.max_code,
        "inf": fmt.inf_code,
        "nan": fmt.nan_code,
    }
    epsilon = Fraction(2) ** (1 - fmt.p)
    return {
        "name": fmt.name,
        "aliases": list(fe.ALIASES.get(fmt.name, ())),
        "k": fmt.k,
        "p": fmt.p,
        "bias": fmt.bias,
        "exponent_bits": fmt.exponent_bits,
        "emin": fmt.emin,
        "emax": fmt.emax,
        "signed": fmt.signed,
        "subnormals": fmt.subnormals,
        "negative_zero": fmt.negative_zero,
        "has_zero": fmt.zero,
        "infinities": fmt.infinities,
        "nan_codes": fmt.high_nans * (2 if fmt.signed else 1) + (fmt.signed and not fmt.negative_zero),
        "overflow": fmt.overflow.name,
        "epsilon": {"value": number(epsilon), "exact": dyadic(epsilon)},
        "landmarks": {key: None if code is None else point(code, fmt) for key, code in codes.items()},
    }


def specials(fmt: fe.Format) -> str:
    """Return the special values of a format in a few words.

    Parameters
    ----------
    fmt : Format

    Returns
    -------
    str

    Examples
    --------
    >>> specials(fe.get_format("e4m3fn")), specials(fe.get_format("e8m0fnu"))
    ('±0, NaN', 'no 0, NaN, unsigned')
    """
    words = ["±0" if fmt.negative_zero else "0" if fmt.zero else "no 0"]
    if fmt.infinities:
        words.append("±inf" if fmt.signed else "inf")
    if fmt.has_nan:
        words.append("NaN")
    if not fmt.signed:
        words.append("unsigned")
    return ", ".join(words)


def short(value: Fraction) -> str:
    """Return a value for a narrow column: exactly if six digits are enough, else with four.

    Parameters
    ----------
    value : Fraction

    Returns
    -------
    str

    Examples
    --------
    >>> short(Fraction(65504)), short(Fraction(1, 512)), short(Fraction(2) ** -133)
    ('65504', '0.001953', '9.184e-41')
    """
    exact = decimal(value, 6)
    return decimal(value, 4).removeprefix("≈") if exact.startswith("≈") else exact


def block_formats() -> list[dict[str, Any]]:
    """Return the block formats in words and numbers, as JSON holds them.

    Returns
    -------
    list of dict
        ``name``, ``aliases``, ``element``, ``block``, ``scale``, ``rule``, ``outer``, ``bits_per_number``.

    Examples
    --------
    >>> block_formats()[0]["element"], block_formats()[0]["block"]
    ('e4m3fn', 32)
    """
    return [
        {
            "name": fmt.name,
            "aliases": list(fe.block.ALIASES[fmt.name]),
            "element": fmt.element.name,
            "block": fmt.block,
            "scale": fmt.scale.name,
            "rule": fmt.rule.name,
            "outer": None if fmt.outer is None else fmt.outer.name,
            "bits_per_number": fmt.bits_per_number,
        }
        for fmt in fe.block.FORMATS.values()
    ]


def print_table(formats: list[fe.Format], console: Console) -> None:
    """Print the table of formats.

    Parameters
    ----------
    formats : list of Format
    console : rich.console.Console
    """
    from rich.table import Table

    # Four digits and single spaces, so that the table fits in 80 columns, where rich would drop what does not.
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1 if console.width < 100 else 2, 0, 0))
    table.add_column("format", no_wrap=True)
    for title in ("k", "p", "bias", "emin", "emax", "max", "min normal", "min pos."):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("specials", no_wrap=True)
    for fmt in formats:
        numbers = (str(item) for item in (fmt.k, fmt.p, fmt.bias, fmt.emin, fmt.emax))
        smallest = short(fmt.min_normal) if fmt.min_normal <= fmt.max else "none"
        words = specials(fmt).removeprefix("no 0, ").replace(",", "")
        table.add_row(fmt.name, *numbers, short(fmt.max), smallest, short(fmt.min_positive), words)
    console.print(table)
    console.print()
    aliases = Table(box=None, header_style="bold", pad_edge=False)
    aliases.add_column("format", no_wrap=True)
    aliases.add_column("also called")
    for fmt in formats:
        aliases.add_row(fmt.name, ", ".join(fe.ALIASES.get(fmt.name, ())))
    console.print(aliases)
    console.print()
    console.print("[bold]blocks that share a scale[/bold] (docs/blocks.md)")
    for block in fe.block.FORMATS.values():
        console.print(block.describe(), highlight=False)
    console.print()
    console.print(
        "Long values are shown with four digits; `floatemu formats NAME` gives them exactly. "
        "P3109 formats go by name, for example binary8p3se: k = 8, p = 3, signed, extended."
    )


def _bits(count: int, noun: str) -> str:
    return f"{count} {noun} {'bit' if count == 1 else 'bits'}"


def print_landmarks(facts: dict[str, Any], console: Console) -> None:
    """Print one format's numbers and landmarks.

    Parameters
    ----------
    facts : dict
        What :func:`landmarks` returns.
    console : rich.console.Console
    """
    from rich.table import Table

    fmt = fe.get_format(facts["name"])
    console.print(f"[bold]{fmt.describe()}[/bold]")
    if facts["aliases"]:
        console.print(f"also called {', '.join(facts['aliases'])}")
    sign = "1 sign bit, " if fmt.signed else ""
    console.print(
        f"{sign}{_bits(fmt.exponent_bits, 'exponent')}, {_bits(fmt.trailing_bits, 'trailing significand')}; "
        f"emin = {fmt.emin}, emax = {fmt.emax}, epsilon = {facts['epsilon']['exact']}"
    )
    console.print()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("landmark")
    table.add_column("code", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("exactly", no_wrap=True)
    for name, found in facts["landmarks"].items():
        label = name.replace("_", " ")
        if found is None:
            table.add_row(label, "", "none", "")
            continue
        value = value_of(int(found["code"], 16), fmt)
        text = value if isinstance(value, str) else "-0" if found["exact"] == "-0" else decimal(value, 17)
        table.add_row(label, found["code"], text, found["exact"] or "")
    console.print(table)
