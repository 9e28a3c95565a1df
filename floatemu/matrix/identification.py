"""Find out how a matrix unit adds: ask it designed and drawn questions, keep the arithmetics that answer alike.

Nothing is fitted by hand: hypotheses are enumerated (:mod:`floatemu.matrix.hypotheses`), every one is a step that
the package can run, and is dropped at its first wrong bit. What no input can show is not chosen
(:mod:`floatemu.matrix.visibility`). If several are left, inputs are sought on which they differ, and the device is
asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.matrix.capture import InstructionTest, read_capture
from floatemu.matrix.drawn import Draw, least, opening, searching
from floatemu.matrix.find import INTEGERS
from floatemu.matrix.hypotheses import NO_FLOOR, Family, Level, Question, families
from floatemu.matrix.probe_vectors import PROBES
from floatemu.matrix.probes import Batch, designed, diagonal, to_codes, to_values
from floatemu.matrix.report import Candidate, Finding, Identification, reading
from floatemu.matrix.steps import BINARY32, Array, Fused
from floatemu.matrix.unit import Integer, MatrixUnit
from floatemu.matrix.visibility import canonical

Device = Callable[..., Any]
Progress = Callable[[int, int, str], None]
PER_CALL = 4096
"""Dot products handed to a device at once."""
SEARCHES, CHECKS = 12, 3
"""Rounds of a search for a separating input, and of the last check of what is left, through all distributions."""
ASKED = 64
"""Separating inputs that a device is asked at once."""


@dataclass
class _Fit:
    """The state of one identification."""

    q: Question
    ask: Callable[[Batch], Array] | None
    progress: Progress | None
    answers: list[tuple[Batch, Array]] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    tried: int = 0
    judged: int = 0

    def put(self, batch: Batch, feature: str = "") -> Array:
        """Ask the device, and keep what it answers."""
        assert self.ask is not None
        seen = self.ask(batch)
        self.keep(batch, seen, feature)
        return seen

    def keep(self, batch: Batch, seen: Array, feature: str = "") -> None:
        """Take an answer into account from now on."""
        self.answers.append((batch, seen))
        finding = self.findings.setdefault(batch.name, Finding(batch.name, feature))
        finding.inputs += batch.size

    def survivors(self, family: Family) -> list[Any]:
        """The members of a family that every answer so far agrees with."""
        steps: list[Any] = [None]
        for number, level in enumerate(family.levels):
            judges = [(batch.only(mask), seen[mask]) for batch, seen, mask in self._masks(family, number) if mask.any()]
            steps = list(self._level(family, level, steps, judges))
            if not steps:
                break
        return steps

    def _masks(self, family: Family, number: int) -> Iterator[tuple[Batch, Array, Array]]:
        """The answers, and which of them a level is judged by: not again those that an earlier one was.

        Zeros are looked at again at last, where their signs count.
        """
        sees = family.levels[number].sees
        for batch, seen in self.answers:
            mask = batch.mask(sees)
            for earlier in family.levels[:number]:
                judged = batch.mask(earlier.sees)
                mask &= ~(judged & (seen != 0) if sees.endswith("all") else judged)
            yield batch, seen, mask

    def _level(
        self, family: Family, level: Level, steps: list[Any], judges: list[tuple[Batch, Array]]
    ) -> Iterator[Any]:
        known = set()
        few = [judge for judge in judges if judge[0].few] if level.plain else []
        rest = [judge for judge in judges if not (level.plain and judge[0].few)]
        verdicts: dict[Any, bool] = {}
        whole = level.sees.endswith("all")
        for place, step in enumerate(steps):
            for refined in level.expand(step):
                key = canonical(refined, self.q)[0] if whole else refined
                if key in known:
                    continue
                known.add(key)
                self.judged += 1
                if self.progress is not None and self.judged % 200 == 0:
                    self.progress(place, len(steps), f"{family.name}: {level.name}")
                if level.plain is not None:
                    form = level.plain(key)
                    if form not in verdicts:
                        verdicts[form] = self.agrees(form, few, exact=False)
                    if not verdicts[form]:
                        continue
                if self.agrees(key, rest, exact=whole):
                    yield key

    def agrees(self, step: Any, judges: list[tuple[Batch, Array]], exact: bool = True) -> bool:
        """Whether a step answers as the device did; the batch on which it does not is put on record, and comes first.

        What rejects one hypothesis is likely to reject its neighbours.
        """
        for place, (batch, seen) in enumerate(judges):
            if not np.all(same(batch.predict(step), seen, exact)):
                self.findings[batch.name].rejected += 1
                judges.insert(0, judges.pop(place))
                return False
        return True

    def separate(self, left: list[Any]) -> tuple[list[Any], dict[str, Any] | None]:
        """Look for inputs on which what is left differs, and ask the device; return what is left then.

        Without a device the first such input is returned beside.
        """
        for seed in range(100, 100 + SEARCHES):
            for draw in (*_focused(left), *searching(self.q)):
                if len(left) < 2:
                    return left, None
                if self.progress is not None:
                    self.progress(seed - 100, SEARCHES, f"{len(left)} left: looking for an input that separates them")
                batch = draw(self.q, seed, 24, 48)
                self.tried += batch.size
                predictions = [batch.predict(step) for step in left]
                differ = np.zeros(batch.size, bool)
                for other in predictions[1:]:
                    differ |= ~same(predictions[0], other)
                if not differ.any():
                    continue
                wanted = np.flatnonzero(differ)
                if self.ask is None:
                    return left, _separating(batch, int(wanted[0]), left)
                batch = batch.only(_chosen(predictions, wanted))
                seen = self.put(batch, "separates what was left")
                left = [step for step in left if self.agrees(step, [(batch, seen)])]
        return left, None

    def check(self, left: list[Any]) -> list[Any]:
        """Ask the device at large once more: what is left must answer alike everywhere."""
        for seed in range(500, 500 + CHECKS):
            for draw in searching(self.q):
                if not left:
                    return left
                batch = draw(self.q, seed, 12, 24)
                self.tried += batch.size
                seen = self.put(batch, "checks what is left")
                left = [step for step in left if self.agrees(step, [(batch, seen)])]
        return left


def same(x: Array, y: Array, exact: bool = True) -> Array:
    """Where two results are equal: bits if ``exact``, else zeros of both signs are one; a NaN is a NaN."""
    if x.dtype.kind == "i":
        return np.asarray(x == y)
    equal = (x == y) if not exact else (x.view(np.int64) == y.view(np.int64))
    return np.asarray(equal | (np.isnan(x) & np.isnan(y)))


def _focused(left: list[Any]) -> list[Draw]:
    """Draws whose smallest terms lie where zeros would have them cut, if what is left differs in that."""
    places = {s.zero_exponent - s.fraction for s in left if isinstance(s, Fused) and s.zero_exponent != NO_FLOOR}
    floors = {s.zero_exponent for s in left if isinstance(s, Fused)}
    return [partial(least, focus=place) for place in sorted(places)] if len(floors) > 1 else []


def _chosen(predictions: list[Array], wanted: Array) -> Array:
    """Of the inputs that separate, those that split what is left into the most parts."""
    parts = np.array([len({p[i].tobytes() for p in predictions}) for i in wanted[: 4 * ASKED]])
    keep = np.zeros(len(predictions[0]), bool)
    keep[wanted[np.argsort(-parts, kind="stable")[:ASKED]]] = True
    return keep


def _separating(batch: Batch, index: int, left: list[Any]) -> dict[str, Any]:
    one = np.zeros(batch.size, bool)
    one[index] = True
    batch = batch.only(one)
    inputs = {key: array[0] for key, array in batch.inputs().items()}
    outputs = [int(to_codes(batch.predict(step), batch.q.output)[0]) for step in left]
    return {**inputs, "predictions": outputs}


def _kind(name: Any, what: str) -> Format | Integer:
    if name is None:
        raise UnsupportedError(f"{what} is not given; say which format it has, for instance {what}='binary16'")
    if isinstance(name, str) and name.strip().lower() in INTEGERS:
        return INTEGERS[name.strip().lower()]
    return name if isinstance(name, Integer) else get_format(name)


def question(
    a: Any,
    b: Any = None,
    output: Any = "binary32",
    *,
    scale: Any = None,
    block: int | None = None,
    k: int | None = None,
    accumulator: bool = True,
    promotion: bool = False,
) -> Question:
    """Say what is to be identified; see :func:`identify`.

    Returns
    -------
    Question

    Raises
    ------
    FormatError
        If a format is unknown.
    UnsupportedError
        If formats, scale, block and k do not fit together.

    Examples
    --------
    >>> question("e4m3fn").k, question("int8", output="int32").k
    (64, 128)
    """
    left = _kind(a, "a")
    right = left if b is None else _kind(b, "b")
    result = _kind(output, "output")
    if (isinstance(left, Integer), isinstance(right, Integer)) != (isinstance(result, Integer),) * 2:
        raise UnsupportedError(
            f"a {left.name}, b {right.name}, output {result.name}: either all three are integers or none is"
        )
    wide = isinstance(result, Integer) or max(getattr(left, "k", 8), getattr(right, "k", 8)) <= 4
    length = k if k is not None else 128 if wide else 64
    if not isinstance(length, (int, np.integer)) or length < 1:
        raise UnsupportedError(f"k={k!r} is not a positive number of products")
    if (scale is None) != (block is None):
        raise UnsupportedError(f"scale={scale!r}, block={block!r}: a unit with block scales has both")
    if block is not None and (not isinstance(block, (int, np.integer)) or block < 1 or length % block):
        raise UnsupportedError(f"block={block!r} does not divide k={length}")
    tf32 = get_format("tf32")
    register = BINARY32 if left == tf32 and right == tf32 else None
    return Question(
        left, right, result, int(length), None if scale is None else get_format(scale), block, register, accumulator,
        promotion,
    )  # fmt: skip


def identify(
    device: Any,
    *,
    a: Any = None,
    b: Any = None,
    output: Any = "binary32",
    scale: Any = None,
    block: int | None = None,
    k: int | None = None,
    accumulator: bool = True,
    promotion: bool = False,
    codes: bool = True,
    test: str | None = None,
    progress: Progress | None = None,
) -> Identification:
    """Find the arithmetics that a matrix unit may have.

    Parameters
    ----------
    device : callable, or path of a capture
        ``device(a, b, c)`` returns d (n,) = c (n,) + the sums of a (n, k) times b (n, k), all of them codes in the
        smallest unsigned dtypes (operands of tf32 units: binary32 codes). A unit with block scales is given
        ``scale_a=`` and ``scale_b=`` (n, k / block) too, one without accumulator no c. Instructions of fewer products
        than k it chains. Or the folder of a capture, see ``docs/capture-format.md``.
    a, b : Format or str
        Formats of the operands, or ``int8``, ``uint8``, ``int4``, ``uint4``; b defaults to a. A capture says its own.
    output : Format or str
        Format of c and d.
    scale : Format or str, optional
        Format of the block scales.
    block : int, optional
        Products that share a scale.
    k : int, optional
        Products in every question; default 64, or 128 for integers and formats of four bits. Blocks longer
        than this cannot be seen.
    accumulator : bool
        Whether the device takes c; without it, as through a library's matrix product, c is 0.
    promotion : bool
        Whether to look for sums that are promoted to binary32 every so many products; needs ``accumulator=False`` and k
        of some intervals, such as 512.
    codes : bool
        Whether the device takes and returns codes; else values, as float64 or int64 arrays.
    test : str, optional
        Which unit or instruction of a capture; needed if it holds several.
    progress : callable, optional
        Called with (done, total, text).

    Returns
    -------
    Identification
        The classes of arithmetics that are left, what every probe said, and how many inputs were looked at.

    Raises
    ------
    FormatError
        If a format is unknown, or an answer is no code of the output's format.
    UnsupportedError
        If what is given does not fit together, or the device answers in another shape.

    Notes
    -----
    Sources of the probes: Fasi, Higham, Mikaitis & Pranesh (PeerJ CS 7:e330), FPRev (arXiv 2411.00442), MMA-Sim
    (arXiv 2511.10909), Khattak & Mikaitis (arXiv 2512.07004).

    Examples
    --------
    >>> import floatemu as fe
    >>> unit = fe.matrix.find("H100", "int8", "int32", "wgmma", saturate=True)
    >>> found = fe.matrix.identify(fe.matrix.answering(unit), a="int8", output="int32")
    >>> found.step
    Integers(depth=32, saturate=True)
    """
    if not callable(device):
        return _identify_capture(device, test, progress)
    q = question(a, b, output, scale=scale, block=block, k=k, accumulator=accumulator, promotion=promotion)
    if promotion and (accumulator or q.output != BINARY32):
        raise UnsupportedError("promotion=True is for products without accumulator whose output is binary32")
    fit = _Fit(q, lambda batch: _asked(device, batch, codes), progress)
    for batch in opening(q):
        fit.put(batch)
    features = {probe.id: probe for probe in PROBES}
    for name, batches in designed(q).items():
        labels, answers = [], []
        for batch in batches:
            answers.append(fit.put(batch, features[name].feature))
            labels += batch.labels
        fit.findings[name].reading = reading(name, labels, np.concatenate(answers))
    return _conclude(fit)


def _conclude(fit: _Fit) -> Identification:
    left = [step for family in families(fit.q) for step in fit.survivors(family)]
    left, separating = fit.separate(left)
    if fit.ask is not None:
        left = fit.check(left)
    return Identification(
        fit.q,
        tuple(Candidate.of(step, fit.q) for step in left),
        tuple(fit.findings.values()),
        fit.judged,
        fit.tried,
        separating,
    )


def _asked(device: Device, batch: Batch, codes: bool) -> Array:
    """The device's answers, checked, as values."""
    q, inputs = batch.q, batch.inputs()
    if not codes:
        formats = {"a": (q.a, q.register), "b": (q.b, q.register), "c": (q.output, None)}
        inputs = {
            key: to_values(array, *formats[key]) if key in formats else to_values(array, q.scale or BINARY32)
            for key, array in inputs.items()
        }  # fmt: skip
    if not q.accumulator:
        del inputs["c"]
    plain = {key: inputs.pop(key) for key in ("a", "b", "c") if key in inputs}
    found = []
    for start in range(0, batch.size, PER_CALL):
        part = slice(start, start + PER_CALL)
        n = len(plain["a"][part])
        answer = np.asarray(device(*(x[part] for x in plain.values()), **{key: x[part] for key, x in inputs.items()}))
        if answer.shape != (n,):
            raise UnsupportedError(f"the device returned shape {answer.shape} for {n} dot products; accepted: ({n},)")
        found.append(_answer(answer, q, codes))
    return np.concatenate(found)


def _answer(answer: Array, q: Question, codes: bool) -> Array:
    if isinstance(q.output, Integer):
        if answer.dtype.kind not in "iu":
            raise FormatError(f"the device returned dtype {answer.dtype}; {q.output.name} results are integers")
        return to_values(answer.astype(np.int64), q.output)
    if not codes:
        return np.asarray(answer, np.float64)
    if answer.dtype.kind not in "iu":
        raise FormatError(
            f"the device returned dtype {answer.dtype}; codes of {q.output.name} are integers (codes=False: values)"
        )
    return to_values(answer, q.output)


def answering(unit: MatrixUnit) -> Device:
    """Return a device that answers as a unit of the table does, for :func:`identify`.

    Parameters
    ----------
    unit : MatrixUnit

    Returns
    -------
    callable

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> device = fe.matrix.answering(fe.matrix.find("A100", "fp16"))
    >>> one, two = np.array([[0x3C00]], np.uint16), np.array([0x40000000], np.uint32)
    >>> hex(device(one, one, two)[0])
    '0x40400000'
    """

    def device(a: Array, b: Array, c: Array | None = None, **scales: Array) -> Array:
        q = Question(unit.a, unit.b, unit.output, a.shape[1], unit.scale, unit.block, unit.register)
        zero = np.zeros(len(a), to_codes(np.zeros(1), unit.output).dtype)
        inputs = {"a": a, "b": b, "c": zero if c is None else c, **scales}
        answers = [batch.predict(unit.step) for batch in diagonal("unit", q, inputs)]
        found = np.concatenate(answers)
        result = to_codes(found, unit.output)
        if not isinstance(unit.output, Integer):
            result[np.isnan(found)] = unit.nan_code
        return result

    return device


def _identify_capture(path: Any, test: str | None, progress: Progress | None) -> Identification:
    """Fit what a capture has of one instruction with one set of formats."""
    groups: dict[tuple[str, ...], list[InstructionTest]] = {}
    for found in read_capture(path).tests("instructions"):
        if isinstance(found, InstructionTest) and found.status == "done":
            if test is None or test in (found.id, found.unit, found.instruction):
                formats = (found.formats[name] for name in "abd")
                groups.setdefault((found.unit or found.instruction, *formats), []).append(found)
    if len(groups) != 1:
        names = ", ".join(dict.fromkeys(key[0] for key in groups)) or "none"
        what = f"no instruction {test!r} that was run" if not groups and test else f"{len(groups)} instructions"
        raise UnsupportedError(f"{path} has {what}; say which by test=: {names}")
    ((name, a, b, output), tests), *_ = groups.items()
    k = max(found.a.shape[1] for found in tests if found.a is not None)
    tf32 = "tf32" in name
    fit = _Fit(question("tf32" if tf32 else a, "tf32" if tf32 else b, output, k=k), None, progress)
    features = {probe.id: probe.feature for probe in PROBES}
    vectors: dict[str, list[tuple[Batch, Array]]] = {}
    for found in tests:
        for batch, seen in _captured(fit.q, found):
            vectors.setdefault(batch.name, []).append((batch, seen))
    for name in sorted(vectors, key=lambda name: (name not in ("P2", "P1"), name not in features)):
        labels: list[str] = []
        for batch, seen in vectors[name]:
            fit.keep(batch, seen, features.get(name, "drawn inputs"))
            labels += batch.labels
        if name in features:
            answers = np.concatenate([seen for _, seen in vectors[name]])
            fit.findings[name].reading = reading(name, labels, answers)
    return _conclude(fit)


def _captured(q: Question, found: InstructionTest) -> Iterator[tuple[Batch, Array]]:
    """A captured test as batches, designed vectors by their probe, with what the device answered."""
    assert found.a is not None
    assert found.b is not None
    assert found.d is not None
    n = len(found.a)
    c = np.zeros(n, found.d.dtype) if found.c is None else found.c
    probes = np.array([label.partition("/")[0] for label in found.labels]) if found.labels else np.full(n, found.id)
    for name in dict.fromkeys(probes.tolist()):
        own = np.flatnonzero(probes == name)
        labels = [found.labels[i] for i in own] if found.labels else []
        codes = {"a": found.a[own], "b": found.b[own], "c": c[own]}
        seen = to_values(found.d[own], q.output)
        for batch in diagonal(name, q, codes, labels, few=name == "P1"):
            yield batch, seen[: batch.size]
            seen = seen[batch.size :]
