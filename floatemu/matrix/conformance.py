"""What was compared with what, and what came out: reports on results of devices, and the comparison of one test.

``expected`` is always what was recorded, ``actual`` what this package computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from floatemu.codec import decode
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.matrix.find import INTEGERS
from floatemu.matrix.product import mma
from floatemu.matrix.readings import readings
from floatemu.matrix.unit import Integer, MatrixUnit
from floatemu.matrix.vectors import SOURCE, VectorSet

__all__ = ["Conformance", "Difference", "Outcome", "check_vectors", "compared", "dots", "judged", "subject"]

Array = np.ndarray[Any, Any]
Status = Literal["pass", "known", "fail", "skipped"]
Progress = Callable[[int, int, str], None]
"""Called with (tests done, tests in all, what is being compared)."""
SQUARE = 32
"""Vectors taken together."""
SUBJECT = ("kind", "device", "sm", "driver", "cuda", "torch", "cpu")


@dataclass(frozen=True)
class Difference:
    """One result that is not what was recorded.

    Attributes
    ----------
    index : tuple of int
        Its place in the test.
    inputs : dict
        Codes that led to it, in hexadecimal, by the operand's name; ``label`` names a designed input.
    expected, actual : str
        Codes, in hexadecimal.
    expected_value, actual_value : float or int or None
        The numbers behind them.
    """

    index: tuple[int, ...]
    inputs: dict[str, Any]
    expected: str
    actual: str
    expected_value: float | int | None
    actual_value: float | int | None


@dataclass(frozen=True)
class Outcome:
    """One test of a report.

    Attributes
    ----------
    id : str
    unit : str or None
        The row under test.
    op : str
        ``mma``, ``gemm``, ``matmul``, ``arithmetic``, ``cast``, ``decode`` or ``round``.
    formats : dict
        Names by operand.
    n, equal : int
        Results compared, and how many have the recorded bits.
    status : str
        ``pass``; ``known``: not equal, and ``cause`` says which documented deviation explains every difference;
        ``fail``: not equal, unexplained; ``skipped``: not compared, for ``reason``.
    cause, reason : str or None
    source : str
        Where the recorded results are from.
    first : Difference or None
    sha256 : str or None
        Of the recorded results, every NaN being the format's own, in reports that can be replayed from them.
    """

    id: str
    unit: str | None
    op: str
    formats: Mapping[str, str]
    n: int
    equal: int
    status: Status
    cause: str | None = None
    reason: str | None = None
    source: str = ""
    first: Difference | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Conformance:
    """A report.

    Attributes
    ----------
    subject : dict
        ``kind`` (``vectors``, ``capture``, ``self``, ``torch``), ``device``, ``sm``, ``driver``, ``cuda``, ``torch``,
        ``cpu``.
    tests : tuple of Outcome
    """

    subject: Mapping[str, str | None]
    tests: tuple[Outcome, ...]

    @property
    def totals(self) -> dict[str, int]:
        """Tests by status, and results compared."""
        found = Counter(test.status for test in self.tests)
        statuses: tuple[Status, ...] = ("pass", "known", "fail", "skipped")
        return {name: found[name] for name in statuses} | {"compared": sum(test.n for test in self.tests)}

    @property
    def ok(self) -> bool:
        """Whether something was compared and no test failed."""
        return self.totals["compared"] > 0 and self.totals["fail"] == 0

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts and lists: ``subject``, ``tests``, ``totals``."""
        return {"subject": dict(self.subject), "tests": [asdict(test) for test in self.tests], "totals": self.totals}


def subject(kind: str, **facts: str | None) -> dict[str, str | None]:
    """What a report is about; facts that are not given are None.

    Examples
    --------
    >>> subject("vectors", device="V100")["device"]
    'V100'
    """
    return dict.fromkeys(SUBJECT) | {"kind": kind} | facts


def _digits(fmt: Format | Integer) -> int:
    bits = fmt.k if isinstance(fmt, Format) else fmt.bits
    return -(-bits // 4)


def hexadecimal(code: Any, fmt: Format | Integer) -> str:
    """A code with all the digits of its format."""
    return f"0x{int(code):0{_digits(fmt)}x}"


def number(code: Any, fmt: Format | Integer) -> float | int:
    """The number behind a code."""
    if isinstance(fmt, Format):
        return float(decode(int(code), fmt))
    return int(code) - (2**fmt.bits if int(code) > fmt.most else 0)


def compared(
    got: Array, want: Array, fmt: Format | Integer, inputs: Callable[[tuple[int, ...]], dict[str, Any]]
) -> tuple[int, Difference | None]:
    """Return how many codes are equal, and the first that is not.

    Parameters
    ----------
    got, want : ndarray of unsigned integers
        What this package computes, and what was recorded; of one shape.
    fmt : Format or Integer
        What the codes mean.
    inputs : callable
        From the place of a result to what led to it.

    Returns
    -------
    tuple of int and (Difference or None)

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> here, there = np.array([0x38, 0x39], np.uint8), np.array([0x38, 0x3A], np.uint8)
    >>> equal, first = compared(here, there, fe.get_format("e4m3fn"), lambda place: {})
    >>> equal, first.index, first.expected, first.expected_value, first.actual_value
    (1, (1,), '0x3a', 1.25, 1.125)
    """
    unlike = np.asarray(got != want)
    if not unlike.any():
        return unlike.size, None
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(unlike)), unlike.shape))
    codes = int(want[place]), int(got[place])
    want_text, got_text = (hexadecimal(code, fmt) for code in codes)
    want_value, got_value = (number(code, fmt) for code in codes)
    first = Difference(place, inputs(place), want_text, got_text, want_value, got_value)
    return unlike.size - int(unlike.sum()), first


def dots(unit: MatrixUnit, a: Array, b: Array, c: Array) -> Array:
    """Return the codes (n,) of c_i + a_i b_i, as the unit gives them.

    Vectors are taken in squares, of which the diagonal is kept: the other products cost less than a call for each
    vector would.

    Parameters
    ----------
    unit : MatrixUnit
    a, b : ndarray
        (n, K), codes.
    c : ndarray
        (n,), codes.

    Returns
    -------
    ndarray of unsigned integers

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> one = np.full((3, 4), 0x3C00, np.uint16)
    >>> [hex(x) for x in dots(fe.matrix.find("V100", "fp16", "fp32"), one, one, np.zeros(3, np.uint32))]
    ['0x40800000', '0x40800000', '0x40800000']
    """
    n = len(c)
    side = min(SQUARE, n)
    if not n:
        return np.zeros(0, c.dtype)
    whole = [np.concatenate([x, np.repeat(x[-1:], -n % side, axis=0)]) for x in (a, b, c)]
    left, right = (x.reshape(-1, side, x.shape[1]) for x in whole[:2])
    first = np.broadcast_to(whole[2].reshape(-1, side, 1), (len(left), side, side))
    found = mma(unit, left, right.transpose(0, 2, 1), first, codes=True)
    return np.asarray(np.diagonal(found, axis1=1, axis2=2).reshape(-1)[:n])


def judged(
    name: str, unit: MatrixUnit, a: Array, b: Array, c: Array, d: Array, source: str, labels: Sequence[str] = ()
) -> Outcome:
    """Compare dot products, one an instruction (or a chain of them), with what a device gave.

    Parameters
    ----------
    name : str
        The test's id.
    unit : MatrixUnit
    a, b : ndarray
        (n, K), codes.
    c, d : ndarray
        (n,), codes given as accumulator and recorded as result.
    source : str
    labels : sequence of str
        Names of the inputs.

    Returns
    -------
    Outcome
        If results differ and a published reading of the unit other than its row's default explains them all, the
        status is ``known`` and ``cause`` names the reading.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> unit = fe.matrix.find("V100", "fp16", "fp32")
    >>> one, three = np.full((1, 4), 0x3C00, np.uint16), np.array([0x40400000], np.uint32)
    >>> found = judged("example", unit, one, one, np.zeros(1, np.uint32), three, "a wrong device")
    >>> found.status, found.first.expected_value, found.first.actual, found.first.actual_value
    ('fail', 3.0, '0x40800000', 4.0)
    """

    def inputs(place: tuple[int, ...]) -> dict[str, Any]:
        (i,) = place
        label = {"label": labels[i]} if labels else {}
        left, right = (unit.register or f for f in (unit.a, unit.b))
        return label | {
            "a": [hexadecimal(x, left) for x in a[i]],
            "b": [hexadecimal(x, right) for x in b[i]],
            "c": hexadecimal(c[i], unit.output),
        }

    got = dots(unit, a, b, c)
    equal, first = compared(got, d, unit.output, inputs)
    formats = {"a": unit.a.name, "b": unit.b.name, "c": unit.output.name, "d": unit.output.name}
    outcome = Outcome(name, unit.name, "mma", formats, len(d), equal, "pass", source=source, first=first)
    if first is None:
        return outcome
    if labels:
        unlike = list(dict.fromkeys(labels[int(i)].split("/")[0] for i in np.flatnonzero(got != d)))
        outcome = replace(outcome, reason=f"differs in {', '.join(unlike)}")
    for reading in readings(unit):
        if np.array_equal(dots(reading.unit, a, b, c), d):
            return replace(outcome, status="known", cause=reading.cause)
    return replace(outcome, status="fail")


def skipped(name: str, unit: str | None, op: str, formats: Mapping[str, str], reason: str, source: str) -> Outcome:
    """A test that was not compared."""
    return Outcome(name, unit, op, formats, 0, 0, "skipped", reason=reason, source=source)


def kind(name: str) -> Format | Integer:
    """A format or integer type by its name."""
    return INTEGERS[name] if name in INTEGERS else get_format(name)


def check_vectors(sets: Iterable[VectorSet], progress: Progress | None = None) -> Conformance:
    """Compare every unit that published results belong to with them.

    Parameters
    ----------
    sets : iterable of VectorSet
        From :func:`floatemu.matrix.vectors.read_vectors`.
    progress : callable, optional
        Called with (sets done, sets in all, name).

    Returns
    -------
    Conformance

    Examples
    --------
    >>> check_vectors(()).ok
    False
    """
    listed, found = list(sets), []
    for done, item in enumerate(listed):
        if progress is not None:
            progress(done, len(listed), item.name)
        if item.unit is None:
            formats = {"a": item.inputs, "b": item.inputs, "c": item.output, "d": item.output}
            found.append(skipped(item.name, None, "mma", formats, item.reason, SOURCE))
            continue
        outcome = judged(item.name, item.unit, item.a, item.b, item.c, item.d, SOURCE)
        found.append(replace(outcome, reason=item.reason))
    devices = ", ".join(dict.fromkeys(item.gpu for item in listed))
    return Conformance(subject("vectors", device=devices), tuple(found))
