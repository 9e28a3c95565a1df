"""``floatemu inspect``: what becomes of one number."""

from __future__ import annotations

import re
from typing import Any

import click

from ...terminal import BadInput
from ..making import Answer, announce, command, formats_option
from ..options import Whole


class NumberFirst(click.Command):
    """A command whose argument may be a negative number, which would otherwise read as an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            takes_value = {name for item in self.params if _takes_value(item) for name in item.opts}
            held = [
                index
                for index, word in enumerate(args)
                if re.match(r"[-−](\d|\.\d|inf|nan)", word) and not (index and args[index - 1] in takes_value)
            ]
            if held:
                rest = [word for index, word in enumerate(args) if index not in held]
                args = [*rest, "--", *(args[index] for index in held)]
        return super().parse_args(ctx, args)


def _takes_value(item: click.Parameter) -> bool:
    return isinstance(item, click.Option) and not item.is_flag


@command("inspect", cls=NumberFirst)
@click.argument("number")
@formats_option(help="Format to look at; repeat for more. Default: binary16, bfloat16, e5m2, e4m3fn.")
@click.option("--random-bits", type=Whole(1, 32), default=32, show_default=True, help="N of the stochastic modes.")
def inspect(number: str, formats: tuple[str, ...], random_bits: int) -> Answer:
    """Show what becomes of one number.

    Fields, neighbours, ulp, exact error, and what each rounding and saturation mode gives.

    NUMBER is read exactly (0.1 is 1/10, not the nearest binary64): a decimal, a fraction 1/3, a power
    2^-9, a hexadecimal float 0x1.8p-3, inf, nan, or a code 0x7e.
    """
    from ... import landmarks
    from ...inspection import inspect_number, print_inspection, print_summary
    from ...numerals import parse, ratio

    numeral = parse(number)
    if numeral.kind == "code" and not formats:
        raise BadInput(
            f"{number} is a code, and a code means nothing without its format",
            given=number,
            accepted="a code together with --format",
            hint=f"floatemu inspect {number} --format e4m3fn (or write {number}p0 for the number)",
        )
    chosen = [landmarks.find(name) for name in formats or ("binary16", "bfloat16", "e5m2", "e4m3fn")]
    announce(formats)
    results = [inspect_number(numeral, fmt, random_bits) for fmt in chosen]

    exact = ratio(numeral.value) if numeral.kind == "number" else None

    def page(result: dict[str, Any], out: Any) -> None:
        if exact is not None and not re.fullmatch(r"[-+]?\d+(/\d+)?|[-+]?2(\^|\*\*)[-+]?\d+", number):
            out.print(
                f"{number} is read exactly, as {exact if len(exact) <= 60 else f'a number of {len(exact)} digits'}"
            )
        if not formats:
            print_summary(results, out)
            out.print(f"`floatemu inspect {number} --format NAME` shows one format in full.")
            return
        for index, item in enumerate(results):
            if index or exact is not None:
                out.print()
            print_inspection(numeral, item, out)

    return {"input": {"text": number, "kind": numeral.kind, "exact": exact}, "formats": results}, page
