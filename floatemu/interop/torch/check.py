"""The torch build at hand against floatemu: casts, elementwise operations, products of matrices.

Expected is what torch gives, actual what floatemu computes. No standard says which NaN a cast or an operation gives:
NaNs count as equal, and torch's codes for them are named in the reason. A report keeps the hash of every answer, so
that :func:`replay_torch` compares it again later, where the device is not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import binding

import floatemu as fe
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.interop.torch.questions import Question, questions
from floatemu.interop.torch.readings import FAITHFUL
from floatemu.matrix.conformance import Conformance, Outcome, Progress, compared, hexadecimal, skipped, subject

Array = np.ndarray[Any, Any]
DRIVER = Path("/proc/driver/nvidia/version")
LISTED = 3
"""Codes of NaN that are named."""
FROM_ANSWERS = (FAITHFUL,)
"""Known ways that say what is accepted beside an answer, not what the answer is."""


def _plain(x: Array, fmt: Format) -> Array:
    """Codes in which every NaN is the format's own."""
    nan = fmt.nan_code
    return x if nan is None else np.where(np.isnan(fe.decode(x, fmt)), nan, x).astype(x.dtype)


def _digest(x: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(x, x.dtype.newbyteorder("<")).tobytes()).hexdigest()


def judge(name: str, question: Question, want: Array, source: str) -> Outcome:
    """Compare codes of one format, NaN with NaN, and look for a known way that explains every difference.

    Parameters
    ----------
    name : str
        The test's id.
    question : Question
    want : ndarray of unsigned integers
        What torch gave.
    source : str
        As in :class:`~floatemu.matrix.conformance.Outcome`.

    Returns
    -------
    Outcome

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> fmt, one, two = fe.get_format("e4m3fn"), np.array([0x38], np.uint8), np.array([0x39], np.uint8)
    >>> question = Question("cast", {}, fmt, {}, lambda device: one, lambda: two, lambda _: [("a cause", lambda: one)])
    >>> judge("x", question, one, "a library").status
    'known'
    """
    fmt = question.fmt

    def operands(place: tuple[int, ...]) -> dict[str, Any]:
        found = {}
        for key, (values, kind) in question.inputs.items():
            row = values[place] if values.shape == want.shape else values
            found[key] = (
                hexadecimal(row, kind) if np.ndim(row) == 0 else [hexadecimal(v, kind) for v in np.ravel(row)[:16]]
            )
        return found

    nans = np.unique(want[np.isnan(fe.decode(want, fmt))])
    reason = None
    if nans.size:
        more = f" … {nans.size} in all" if nans.size > LISTED else ""
        reason = f"torch's NaN: {', '.join(hexadecimal(code, fmt) for code in nans[:LISTED])}{more}"
    there = _plain(want, fmt)
    equal, first = compared(_plain(question.computed(), fmt), there, fmt, operands)
    outcome = Outcome(
        name, None, question.op, question.formats, want.size, equal, "pass", None, reason, source, first, _digest(there)
    )
    if first is None:
        return outcome
    for cause, predicted in question.known(want):
        if np.array_equal(_plain(predicted(), fmt), there):
            return replace(outcome, status="known", cause=cause)
    return replace(outcome, status="fail")


def _driver() -> str | None:
    """The version of NVIDIA's kernel module, where Linux tells it; torch does not say."""
    try:
        text = DRIVER.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else None


def _facts(device: str) -> dict[str, str | None]:
    cpu = f"{binding.get_host_cpu_name()}, of which torch uses {torch.backends.cpu.get_cpu_capability()}"
    facts: dict[str, str | None] = {"device": device, "torch": torch.__version__, "cpu": cpu}
    if torch.device(device).type != "cuda":
        return facts
    major, minor = torch.cuda.get_device_capability(device)
    facts |= {"device": torch.cuda.get_device_name(device), "sm": f"{major}.{minor}", "cuda": torch.version.cuda}
    return facts | {"driver": _driver()}


def check_torch(device: str = "cpu", progress: Progress | None = None, only: str = "") -> Conformance:
    """Compare floatemu with torch's own casts, operations and products on a device.

    Parameters
    ----------
    device : str
        As torch names it.
    progress : callable, optional
        Called with (tests done, tests in all, test).
    only : str
        Run the tests whose id starts with this.

    Returns
    -------
    Conformance
        A test that deviates is ``known`` if one documented way of torch gives every bit, else ``fail``.

    Raises
    ------
    UnsupportedError
        If torch has no such device.

    Examples
    --------
    >>> found = check_torch(only="cast/binary16/e5m2")
    >>> [(test.id, test.n, test.status) for test in found.tests]
    [('cast/binary16/e5m2', 65536, 'pass'), ('cast/binary16/e5m2fnuz', 65536, 'pass')]
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        text = str(error).split("\n")[0]
        raise UnsupportedError(
            f"torch has no device {device!r} here ({text}); accepted: cpu, cuda, cuda:1 ..."
        ) from None
    origin = f"torch {torch.__version__} on {device}"
    tests = {name: make for name, make in questions().items() if name.startswith(only)}
    found = []
    for done, (name, make) in enumerate(tests.items()):
        if progress is not None:
            progress(done, len(tests), name)
        question = make()
        try:
            answer = question.ask(device)
        except (RuntimeError, NotImplementedError) as error:
            reason = f"torch refuses: {str(error).splitlines()[0]}"
            found.append(skipped(name, None, question.op, {}, reason, origin))
            continue
        found.append(judge(name, question, answer, origin))
    return Conformance(subject("torch", **_facts(device)), tuple(found))


def replay_torch(report: Mapping[str, Any]) -> Conformance:
    """Compare floatemu, as it is now, with the answers that a report keeps.

    Parameters
    ----------
    report : mapping
        What ``floatemu validate --torch DEVICE --json`` printed, or :meth:`Conformance.as_dict` of
        :func:`check_torch`.

    Returns
    -------
    Conformance
        Of the report's subject. ``pass`` and ``known`` as in the report if the hashes are equal, else ``fail``.
        ``skipped``: what was so there, questions of another version, and ways that need the answer itself.

    Raises
    ------
    UnsupportedError
        If it is no such report.

    Examples
    --------
    >>> found = check_torch(only="cast/binary32/e5m2")
    >>> [test.status for test in replay_torch(found.as_dict()).tests]
    ['pass', 'pass']
    """
    known = questions()
    try:
        if report["subject"]["kind"] != "torch":
            raise UnsupportedError(f"a report of kind {report['subject']['kind']!r}; accepted: of torch")
        tests = [_replayed(test, known) for test in report["tests"]]
        return Conformance(dict(report["subject"]), tuple(tests))
    except (KeyError, TypeError, ValueError) as error:
        raise UnsupportedError(f"this is no report of floatemu validate --torch: {error!r}") from None


def _replayed(test: Mapping[str, Any], known: Mapping[str, Any]) -> Outcome:
    name, digest, source = str(test["id"]), test["sha256"], str(test["source"])
    if digest is None or name not in known:
        reason = str(test["reason"]) if digest is None else "no question has this id"
        return skipped(name, None, str(test["op"]), {}, reason, source)
    question: Question = known[name]()
    formats = question.formats
    status = test["status"]
    if status not in ("pass", "known", "fail"):
        raise ValueError(f"status {status!r}")
    if status == "known":
        ways = dict(question.known(question.computed()))
        made = ways.get(test["cause"])
        if made is None or test["cause"] in FROM_ANSWERS:
            return skipped(name, None, question.op, formats, f"not to be told from a hash: {test['cause']}", source)
        computed = made()
    else:
        computed = question.computed()
    same = _digest(_plain(computed, question.fmt)) == digest
    if status == "fail":
        status = "pass" if same else "fail"
    return Outcome(
        name, None, question.op, formats, int(test["n"]), int(test["equal"]), status if same else "fail",
        test["cause"], test["reason"] if same else "the hash is another", source, None, digest,
    )  # fmt: skip
