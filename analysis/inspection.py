"""One number in one format: its fields, its neighbours and what every projection makes of it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import floatemu as fe

from .landmarks import bits, number, point, value_of
from .numerals import Numeral, decimal, dyadic, ratio
from .terminal import BadInput

if TYPE_CHECKING:
    from rich.console import Console


def _encode(
    x: Fraction | float,
    fmt: fe.Format,
    mode: fe.Rounding,
    saturation: fe.Saturation = fe.Saturation.SAT_NONE,
    random: int | None = None,
    random_bits: int | None = None,
) -> int:
    return int(fe.encode(x, fmt, mode, saturation=saturation, random=random, random_bits=random_bits))


def _outcomes(
    x: Fraction | float, fmt: fe.Format, mode: fe.Rounding, saturation: fe.Saturation, random_bits: int
) -> list[dict[str, Any]]:
    if not mode.stochastic:
        return [{**point(_encode(x, fmt, mode, saturation), fmt), "probability": "1"}]

    def draw(r: int) -> int:
        return _encode(x, fmt, mode, saturation, random=r, random_bits=random_bits)

    # The magnitude grows with R in all three modes, so the results change at most once, at a threshold that
    # bisection finds: the exact probability comes from the core itself, and no rule is written a second time.
    total = 2**random_bits
    low, high = draw(0), draw(total - 1)
    if low == high:
        return [{**point(low, fmt), "probability": "1"}]
    same, other = 0, total - 1
    while other - same > 1:
        middle = (same + other) // 2
        if draw(middle) == low:
            same = middle
        else:
            other = middle
    chances = (Fraction(other, total), Fraction(total - other, total))
    return [{**point(code, fmt), "probability": str(chance)} for code, chance in zip((low, high), chances)]


def _source(numeral: Numeral, fmt: fe.Format) -> Fraction | float:
    """Return what ``fe.encode`` is to be given: a Fraction, or a float for -0, infinities and NaN."""
    if numeral.kind == "code":
        assert numeral.code is not None
        if numeral.code >= 2**fmt.k:
            raise BadInput(
                f"code {numeral.text} needs {numeral.code.bit_length()} bits, but {fmt.name} has k = {fmt.k}",
                given=numeral.text,
                accepted=f"{bits(0, fmt)}..{bits(2**fmt.k - 1, fmt)}",
                hint="choose a wider format with --format",
            )
        value = value_of(numeral.code, fmt)
        if isinstance(value, str):
            return float(value)
        return -0.0 if value == 0 and numeral.code & fmt.sign_code else value
    if numeral.kind == "number":
        return -0.0 if numeral.value == 0 and numeral.negative else numeral.value
    return float("-inf" if numeral.kind == "inf" and numeral.negative else numeral.kind)


def _next(x: Fraction, fmt: fe.Format, upward: bool) -> dict[str, Any] | None:
    """Return the nearest value that is not on the near side of x (x itself, if it is one); None if there is none."""
    code = _encode(x, fmt, fe.Rounding.TOWARD_POSITIVE if upward else fe.Rounding.TOWARD_NEGATIVE)
    value = value_of(code, fmt)
    if value == "nan" or (isinstance(value, Fraction) and (value < x if upward else value > x)):
        return None
    return point(code, fmt)


def _fields(code: int, fmt: fe.Format) -> dict[str, Any]:
    magnitude = code & ~fmt.sign_code if fmt.signed else code
    exponent, trailing = divmod(magnitude, 2**fmt.trailing_bits)
    value = value_of(code, fmt)
    fields: dict[str, Any] = {
        "sign": int(bool(code & fmt.sign_code)) if fmt.signed else None,
        "exponent_field": f"{exponent:0{fmt.exponent_bits}b}",
        "trailing_significand": f"{trailing:0{fmt.trailing_bits}b}" if fmt.trailing_bits else "",
        "class": "nan" if value == "nan" else "infinity",
        "exponent": None,
        "significand": None,
        "ulp": None,
    }
    if isinstance(value, Fraction):
        significand, quantum = fmt.scaled(magnitude)
        leading = significand >> fmt.trailing_bits
        fields["class"] = "zero" if significand == 0 else "normal" if leading else "subnormal"
        fields["exponent"] = quantum + fmt.trailing_bits if significand else None
        tail = f".{significand % 2**fmt.trailing_bits:0{fmt.trailing_bits}b}" if fmt.trailing_bits else ""
        fields["significand"] = f"{leading}{tail}"
        fields["ulp"] = {"value": number(Fraction(2) ** quantum), "exact": dyadic(Fraction(2) ** quantum)}
    return fields


def inspect_number(numeral: Numeral, fmt: fe.Format, random_bits: int = 32) -> dict[str, Any]:
    """Return everything that happens to one number in one format.

    Parameters
    ----------
    numeral : Numeral
        The number, exactly; a code is decoded first.
    fmt : Format
    random_bits : int
        N of the stochastic modes, 1..32.

    Returns
    -------
    dict
        ``format``; ``value`` and ``exact`` of the input; ``nearest`` (the result of rounding to nearest,
        ties to even, SAT_NONE; None if the format has no place for the input), its ``fields``, its
        ``error`` = nearest - input (exactly, in decimal, and in ulp); ``below`` and ``above``, the
        neighbours of the nearest value (of the input, if the nearest is not finite), or None;
        ``projections``, one entry for each rounding and saturation mode, with every possible outcome
        and its exact probability.

    Raises
    ------
    BadInput
        If a code is wider than the format.

    Examples
    --------
    >>> from analysis.numerals import parse
    >>> result = inspect_number(parse("0.1"), fe.get_format("e4m3fn"))
    >>> result["nearest"], result["error"]["exact"]
    ({'code': '0x1d', 'value': 0.1015625, 'exact': '13*2^-7'}, '1/640')
    """
    x = _source(numeral, fmt)
    projections = []
    for mode in fe.Rounding:
        for saturation in fe.Saturation:
            entry: dict[str, Any] = {"rounding": mode.name, "saturation": saturation.name}
            try:
                entry["outcomes"], entry["refused"] = _outcomes(x, fmt, mode, saturation, random_bits), None
            except fe.ProjectionError as error:
                entry["outcomes"], entry["refused"] = [], str(error)
            projections.append(entry)
    result: dict[str, Any] = {
        "format": fmt.name,
        "value": x if isinstance(x, float) else number(x) if _is_dyadic(x) else ratio(x),
        "exact": None if isinstance(x, float) and x != 0 else "-0" if isinstance(x, float) else ratio(x),
        "nearest": None,
        "fields": None,
        "error": None,
        "below": None,
        "above": None,
        "random_bits": random_bits,
        "projections": projections,
    }
    if not projections[0]["outcomes"]:
        return result
    nearest = {key: projections[0]["outcomes"][0][key] for key in ("code", "value", "exact")}
    code = int(nearest["code"], 16) if numeral.kind != "code" else numeral.code
    assert code is not None
    result["nearest"], result["fields"] = point(code, fmt), _fields(code, fmt)
    value = value_of(code, fmt)
    if isinstance(x, float) and x != 0:
        return result
    exact, step = Fraction(x), Fraction(0)
    if isinstance(value, Fraction):
        quantum = Fraction(2) ** fmt.scaled(code & ~fmt.sign_code)[1]
        result["error"] = _error(value, exact, quantum)
        # Below a power of two the gap is half a quantum: a quarter leaves the value and steps over none.
        exact, step = value, quantum / 4
    result["below"], result["above"] = _next(exact - step, fmt, False), _next(exact + step, fmt, True)
    return result


def _is_dyadic(x: Fraction) -> bool:
    return x.denominator & (x.denominator - 1) == 0


def _error(value: Fraction, exact: Fraction, ulp: Fraction) -> dict[str, Any]:
    error = value - exact
    return {
        "exact": ratio(error),
        "decimal": decimal(error),
        "relative": decimal(error / abs(exact), 6) if exact else None,
        "ulp": decimal(error / ulp, 6),
    }


def _shown(found: dict[str, Any] | None, fmt: fe.Format, digits: int = 10) -> str:
    if found is None:
        return "none"
    value = value_of(int(found["code"], 16), fmt)
    text = value if isinstance(value, str) else "-0" if found["exact"] == "-0" else decimal(value, digits)
    return f"{text} [dim]({found['code']})[/dim]"


def _chances(outcomes: list[dict[str, Any]], fmt: fe.Format) -> str:
    if len(outcomes) == 1:
        return _shown(outcomes[0], fmt)
    parts = (f"{_shown(item, fmt)} {decimal(100 * Fraction(item['probability']), 6)}%" for item in outcomes)
    return " or ".join(parts)


def _error_text(error: dict[str, Any]) -> str:
    relative = "" if error["relative"] is None else f", relative {error['relative']}"
    tail = f"({error['ulp']} ulp{relative})"
    if len(error["exact"]) > 40 or "/" not in error["exact"]:
        return f"{error['decimal']} {tail}"
    near = error["decimal"].startswith("≈")
    return f"{error['exact']} {'≈' if near else '='} {error['decimal'].removeprefix('≈')} {tail}"


def print_summary(results: list[dict[str, Any]], console: Console) -> None:
    """Print one row for each format: the nearest value and how far it is.

    Parameters
    ----------
    results : list of dict
        What :func:`inspect_number` returned for each format.
    console : rich.console.Console
    """
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("format", "nearest (code)", "below", "above", "error/ulp", "rel. error"):
        table.add_column(title, no_wrap=True)
    for result in results:
        fmt = fe.get_format(result["format"])
        error = result["error"] or {"ulp": None, "relative": None}
        nearest = "refused" if result["nearest"] is None else _shown(result["nearest"], fmt, 5)
        sides = (_shown(result[side], fmt, 5).split(" ")[0] for side in ("below", "above"))
        table.add_row(fmt.name, nearest, *sides, _brief(error["ulp"]), _brief(error["relative"]))
    console.print(table)


def _brief(text: str | None) -> str:
    if text is None:
        return "-"
    near = decimal(Fraction(text.removeprefix("≈")), 4)
    return near if near.startswith("≈") or not text.startswith("≈") else f"≈{near}"


def print_inspection(numeral: Numeral, result: dict[str, Any], console: Console) -> None:
    """Print what :func:`inspect_number` found.

    Parameters
    ----------
    numeral : Numeral
    result : dict
    console : rich.console.Console
    """
    from rich.table import Table

    fmt = fe.get_format(result["format"])
    console.print(f"[bold]{fmt.describe()}[/bold]")
    nearest, fields, error = result["nearest"], result["fields"], result["error"]
    if nearest is None:
        console.print(f"has no place for {numeral.text}: {result['projections'][0]['refused']}")
    else:
        facts = Table(box=None, show_header=False, pad_edge=False)
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column()
        exact = f" = {nearest['exact']}" if nearest["exact"] else ""
        facts.add_row("nearest value" if numeral.kind != "code" else "value", f"{_shown(nearest, fmt)}{exact}")
        sign = "" if fields["sign"] is None else f"sign {fields['sign']}, "
        power = "" if fields["exponent"] is None else f" = {fields['significand']} (binary) * 2^{fields['exponent']}"
        facts.add_row(
            "fields",
            f"{sign}exponent field {fields['exponent_field']}, trailing significand "
            f"{fields['trailing_significand'] or 'empty'}: {fields['class']}{power}",
        )
        if error is not None:
            facts.add_row("error", _error_text(error))
        if result["below"] or result["above"]:
            facts.add_row("neighbours", f"{_shown(result['below'], fmt)} and {_shown(result['above'], fmt)}")
        if fields["ulp"] is not None:
            facts.add_row("ulp", fields["ulp"]["exact"])
        console.print(facts)
    console.print()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("rounding", no_wrap=True)
    by_mode = {mode.name: [e for e in result["projections"] if e["rounding"] == mode.name] for mode in fe.Rounding}
    same = all(entry["outcomes"] == row[0]["outcomes"] for row in by_mode.values() for entry in row)
    for saturation in fe.Saturation:
        if not same or saturation is fe.Saturation.SAT_NONE:
            table.add_column("any saturation" if same else saturation.name)
    for name, row in by_mode.items():
        cells = [_chances(entry["outcomes"], fmt) if entry["outcomes"] else "refused" for entry in row]
        table.add_row(name, *(cells[:1] if same else cells))
    console.print(table)
