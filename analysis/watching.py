"""The door to watching training loops of torch: it is there without torch, and says what to install."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floatemu.errors import UnsupportedError

from .policy import Policy

if TYPE_CHECKING:
    from .torch.watch import Watch

__all__ = ["TAPE_LIMIT", "watch"]

TAPE_LIMIT = 2**28
"""Bytes of all numbers of a step that becomes a tape, unless told otherwise."""


def watch(
    model: Any,
    policy: Policy | str | None = None,
    every: int = 50,
    *,
    out: str | Path | None = None,
    reference: str = "auto",
    allow: Sequence[str] = (),
    start: int = 0,
    tape_limit: int = TAPE_LIMIT,
) -> Watch:
    """Watch a training loop: at every n-th step, follow each operation in a policy and in binary64.

    The training is not touched: its weights and losses have the same bits as without. On a sampled step each operation
    of forward pass, backward pass and update is made again in binary64, on memory of its own that starts as a copy of
    the program's, and every result is compared.

    Parameters
    ----------
    model : torch.nn.Module
    policy : Policy or str, optional
        What is emulated beside the training; results are rounded once, sums run in binary64. None: the program's own
        numbers are judged, in whatever dtypes it computes.
    every : int
        Steps from one sample to the next; the first step is sampled.
    out : path-like, optional
        Folder that rows go to, as Parquet files and for TensorBoard, step by step. None: they are kept in ``rows``.
    reference : str
        "float64": a run in binary64. "live": the program's own, which saves one of three runs; "auto" takes it where
        it is good enough: all of it in binary32 or more, the policy's formats of 16 significand bits at most.
    allow : sequence of str
        Shell patterns of operations or module paths whose infinities are meant. Those of masks are known by themselves.
    start : int
        Number of the first step.
    tape_limit : int
        With ``out``, two sampled steps are kept in the folder as tapes, for ``floatemu advise``: the first one, and the
        first that made an infinity or NaN. This is the size, in bytes, of all numbers of a step in binary64, its
        intermediate results included, above which none is made; 0: never. The default is 256 MiB.

    Returns
    -------
    Watch
        A context manager; see its ``step``, ``rows``, ``first_nonfinite``, ``to_dataframe``.

    Raises
    ------
    UnsupportedError
        If the model is none, or compiled, a policy asks for sums in less than binary32 or for a matrix unit, an
        argument is out of range, or torch (or, with ``out``, pyarrow) is missing; the message names the extra.
    FileError
        If the folder holds a log already, or cannot be written.

    Examples
    --------
    With torch::

        with an.watch(model, "bf16", every=50, out="run") as w:
            for x, y in batches:
                with w.step():
                    loss = criterion(model(x), y)
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
        print(w.first_nonfinite)

    >>> watch(None)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: model is NoneType; accepted: a torch.nn.Module
    """
    if not callable(getattr(model, "named_parameters", None)):
        raise UnsupportedError(f"model is {type(model).__name__}; accepted: a torch.nn.Module")
    try:
        from .torch.watch import Watch
    except ImportError as error:
        raise UnsupportedError(f"watch needs torch ({error}): pip install 'floatemu[torch]'") from None
    chosen = Policy.named(policy) if isinstance(policy, str) else policy
    return Watch(model, chosen, every, out, reference, allow, start, tape_limit)
