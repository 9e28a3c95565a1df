"""Watching a training loop: some of its steps are followed beside the program, and written to a log."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from floatemu.errors import UnsupportedError

from ..policy import Policy
from ..terminal import say, status_line
from ..watchlog import Log, NonFinite, Row, read_log, to_dataframe
from .chain import check_policy
from .keeping import Keeper
from .private import refuse_compiled, refuse_empty
from .sample import Sample

__all__ = ["Watch"]

_FINE_ENOUGH = 16  # significand bits of a policy's formats to which a run in binary32 is as good as exact
_UNSEEN = "a watch sees those of the thread that began the step, and kernels of torch.compile not at all"
REFERENCES = ("auto", "float64", "live")


class Watch:
    """Follows sampled steps of a training loop; made by :func:`analysis.watch`.

    Attributes
    ----------
    rows : list of Row
        Of all sampled steps, or of the last one only where they go to a folder.
    nonfinite : list of NonFinite
        Calls that made infinities or NaN.
    alarms : list of str
        Steps that were not sampled and left non-finite gradients or weights, and sampled ones in which no call was
        seen.
    steps, sampled : int
        How many steps were begun, and how many of them followed.
    seeded, escapes : Counter
        What could not be followed: calls by name, and numbers that became Python's, by path.
    """

    def __init__(
        self,
        module: Any,
        policy: Policy | None,
        every: int,
        out: str | Path | None,
        reference: str,
        allow: Sequence[str],
        start: int,
        tape_limit: int,
    ) -> None:
        _check(module, policy, every, reference, tape_limit)
        self._module, self._policy, self._every = module, policy, every
        self._reference, self._allow, self._start = reference, tuple(allow), start
        self.rows: list[Row] = []
        self.nonfinite: list[NonFinite] = []
        self.alarms: list[str] = []
        self.steps = self.sampled = 0
        self.seeded: Counter[str] = Counter()
        self.escapes: Counter[str] = Counter()
        self._narrow = False
        self._tape_limit = tape_limit
        self._wanted = {"first", "nonfinite"} if out is not None and tape_limit else set()
        self._sample: Sample | None = None
        self._began = 0.0
        self._open = False
        self._log = None if out is None else Log(out, self._manifest())
        self._line = contextlib.ExitStack()
        self._show: Any = None
        self._due = True

    def _manifest(self) -> dict[str, Any]:
        return {
            "module": type(self._module).__name__,
            "parameters": {name: list(one.shape) for name, one in self._module.named_parameters()},
            "policy": None if self._policy is None else self._policy.name,
            "reference": self._reference,
            "every": self._every,
            "tape_limit": self._tape_limit,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def __enter__(self) -> Watch:
        self._show = self._line.enter_context(status_line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end(raised=kind is not None)
        finally:
            self._line.close()
            if self._log is not None:
                self._log.close()

    def step(self) -> _Step:
        """Begin a step. It ends with the ``with`` block, with the next step, or with the watch.

        Returns
        -------
        context manager

        Examples
        --------
        >>> import analysis as an
        >>> net = torch.nn.Linear(2, 1)
        >>> with an.watch(net, "bf16", every=2) as w:
        ...     for _ in range(4):
        ...         with w.step():
        ...             net(torch.ones(1, 2)).sum().backward()
        >>> w.steps, w.sampled, sorted({row.step for row in w.rows})
        (4, 2, [0, 2])
        """
        self._end()
        number = self._start + self.steps
        self.steps += 1
        self._open = True
        if self._due or number % self._every == 0:
            self._due = False
            keeper = Keeper(self._tape_limit) if self._wanted else None
            self._sample = Sample(self._module, self._policy, self._exact(), number, self._allow, keeper)
            self._began = time.perf_counter()
            self._sample.__enter__()
        return _Step(self)

    def _exact(self) -> bool:
        if self._policy is None or self._reference == "float64":
            return True
        if self._reference == "live":
            return False
        formats = [rule.numerics.format for rule in self._policy.rules]
        fine = any(fmt is None or fmt.p > _FINE_ENOUGH for fmt in formats[-1:])
        held = (*self._module.parameters(), *self._module.buffers())
        narrow = any(one.is_floating_point() and one.element_size() < 4 for one in held)
        return fine or narrow or self._narrow or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")

    def _end(self, raised: bool = False) -> None:
        if not self._open:
            return
        self._open = False
        sample, self._sample = self._sample, None
        if sample is None:
            self._guard()
            return
        sample.__exit__(None, None, None)
        self._narrow |= sample.narrow > 0
        self.sampled += 1
        if sample.calls == 0 and not raised:
            self.alarms.append(f"step {sample.step} was sampled, and no operation was seen in it: {_UNSEEN}")
            say(f"floatemu: {self.alarms[-1]}")
        self.seeded += sample.seeded
        self.escapes += sample.escapes
        self.nonfinite += sample.found
        if self._log is not None:
            seconds = time.perf_counter() - self._began
            self._log.write(sample.step, sample.rows, _scalars(sample, seconds), sample.found)
            self.rows.clear()
            self._keep(self._log, sample)
        self.rows += sample.rows
        for one in sample.found[:1]:
            say(f"floatemu: {one.text}")
        if self._show is not None:
            self._show(_summary(self, sample))

    def _keep(self, log: Log, sample: Sample) -> None:
        # a step that began with what is no number does not show who made it
        made = any(one.made for one in sample.found)
        kind = "nonfinite" if made else "first"
        keeper, sample.keeper = sample.keeper, None
        if keeper is None or kind not in self._wanted:
            return
        # the steps of a loop are of one size
        self._wanted = set() if keeper.full else self._wanted - {kind, "first"}
        if keeper.refusal:
            log.keep(kind, sample.step, keeper.refusal)
            return
        if self._show is not None:
            self._show(f"step {sample.step} · writing its tape")
        about = {"step": sample.step, "kind": kind, "policy": None if self._policy is None else self._policy.name}
        try:
            tape = keeper.tape(self._module, sample.escapes, watched=about)
        except Exception as error:  # whatever it is: the training is worth more than its tape
            log.keep(kind, sample.step, f"{type(error).__name__}: {error}")
            return
        log.keep(kind, sample.step, tape)

    def _guard(self) -> None:
        # gradients, or weights where there are none any more: a step that was not followed may have gone wrong
        held = [one.grad for one in self._module.parameters() if one.grad is not None]
        held = [one.detach() for one in held or self._module.parameters() if one.is_floating_point()]
        fine = all(math.isfinite(total) for total in torch.stack([one.sum().float() for one in held]).tolist())
        fine = fine or all(bool(torch.isfinite(one).all()) for one in held)  # the sum of finite numbers may overflow
        if not fine:
            number = self._start + self.steps - 1
            self.alarms.append(f"step {number} was not sampled, and left gradients or weights that are not finite")
            say(f"floatemu: {self.alarms[-1]}; the next step is")
            self._due = True

    def shadow(self, tensor: Any, run: str = "exact") -> Any:
        """Return what a tensor holds now in another run of the step.

        Parameters
        ----------
        tensor : Tensor
            Of the program's own.
        run : str
            "exact": in binary64; "emulated": in the policy.

        Returns
        -------
        Tensor or None
            Of binary64, a copy; None outside of a sampled step, where there is no such run, and for a tensor that no
            call of the step has used.
        """
        sample = self._sample
        chain = None if sample is None else sample.exact if run == "exact" else sample.emulated
        return None if sample is None or chain is None else sample.value(chain, tensor)

    @property
    def first_nonfinite(self) -> NonFinite | None:
        """The first call that made an infinity or NaN: of the program's own run, if any did there, else emulated."""
        live = [one for one in self.nonfinite if one.run == "live"]
        return next(iter(live or self.nonfinite), None)

    def to_dataframe(self) -> Any:
        """Return all rows as a pandas DataFrame, read from the folder if they went there.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        UnsupportedError
            Without pandas; the message names the extra.
        """
        return to_dataframe(self.rows if self._log is None else read_log(self._log.folder)[1])


class _Step:
    """A step that has begun; leaving it ends it."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._number = watch, watch.steps

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        if self._watch.steps == self._number:
            self._watch._end(raised=error[0] is not None)


def _check(module: Any, policy: Policy | None, every: int, reference: str, tape_limit: int) -> None:
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedError(f"model is {type(module).__name__}; accepted: a torch.nn.Module")
    refuse_compiled(module, "watch")
    refuse_empty(module, "watch")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise UnsupportedError(
            f"every={every!r}; accepted: an integer >= 1, how many steps from one sample to the next"
        )
    if isinstance(tape_limit, bool) or not isinstance(tape_limit, int) or tape_limit < 0:
        raise UnsupportedError(f"tape_limit={tape_limit!r}; accepted: an integer >= 0, in bytes; 0 keeps no tape")
    if reference not in REFERENCES:
        raise UnsupportedError(f"reference={reference!r}; accepted: {', '.join(REFERENCES)}")
    if policy is not None:
        check_policy(policy)
    elif reference == "live":
        raise UnsupportedError("reference='live' compares a policy with the live run; without a policy give 'float64'")


def _scalars(sample: Sample, seconds: float) -> dict[str, float]:
    """What TensorBoard shows of a step: the worst of each module, and totals."""
    found: dict[str, float] = {}
    for row in sample.rows:
        for name, value in (("error", row.error), ("flushed", row.flushed / max(row.elements, 1))):
            tag = f"{name}/{row.run}/{row.direction}/{row.path or '(root)'}"
            found[tag] = max(found.get(tag, 0.0), value)
    for name in ("overflowed", "nonfinite", "saturated"):
        found[f"total/{name}"] = float(sum(getattr(row, name) for row in sample.rows))
    found["total/seconds"] = seconds
    return found


def _summary(watch: Watch, sample: Sample) -> str:
    worst = max((row for row in sample.rows if row.error < float("inf")), key=lambda row: row.error, default=None)
    parts = [f"step {sample.step}", f"{watch.sampled} of {watch.steps} sampled"]
    if worst is not None:
        parts.append(f"largest error {worst.error:.1e} in {worst.path or 'the model'} {worst.op} ({worst.direction})")
    parts.append(f"non-finite: {len(watch.nonfinite)}")
    return " · ".join(parts)
