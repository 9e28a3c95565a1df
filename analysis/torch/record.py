"""Tapes and recordings of unmodified torch modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from floatemu.errors import UnsupportedError

from ..ops import Builder
from ..optimisers import check_closure
from ..tape import Tape
from .calls import Recording, flatten
from .mode import Listener, Recorder
from .private import decompositions, plain_kernels, refuse_compiled, refuse_empty
from .prune import prune
from .translate import RULES, Translator

__all__ = ["capture", "record"]

Loss = Callable[[Any], Any]


def record(
    module: Any,
    *inputs: Any,
    loss: Loss | None = None,
    optimizer: Any = None,
    keywords: Mapping[str, Any] | None = None,
    decompose: bool = True,
    name: str | None = None,
) -> Tape:
    """Record one run of an unmodified module; see :func:`analysis.recording.record`.

    Parameters
    ----------
    module, inputs, loss, optimizer, keywords, decompose, name
        As those of that function.

    Returns
    -------
    Tape

    Raises
    ------
    UnsupportedError
        If the module or a part of it is compiled or has no numbers, the loss is no scalar, a tensor is sparse or
        nested, or the optimiser's step needs a closure, or a loss that there is not.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
    >>> tape = record(net, torch.ones(1, 2), loss=lambda y: y.sum())
    >>> list(tape.targets)
    ['result', 'loss', 'grad:0.weight', 'grad:0.bias']
    >>> {node.path for node in tape.nodes if node.op == "tanh"}, tape.meta["opaque"]
    ({'1'}, {})
    """
    _check(keywords, loss, optimizer)
    builder = Builder(name or type(module).__name__)
    translator = Translator(builder)
    recorder = _recorder(module, translator, decompose)
    for role, named in (("parameter", module.named_parameters()), ("constant", module.named_buffers())):
        for path, one in named:
            translator.naming = (role, path)
            recorder.ref(one)
    given = list(flatten((inputs, dict(keywords or {})), torch.Tensor))
    for index, one in enumerate(given):
        translator.naming = ("input", "input" if len(given) == 1 else f"input{index}")
        recorder.ref(one)
    translator.naming = ("", "")
    result, lost = _run(recorder, inputs, keywords or {}, loss, optimizer)
    if isinstance(result, torch.Tensor) and result.is_floating_point():
        translator.target("result", recorder.ref(result), result)
    if lost is not None:
        translator.target("loss", recorder.ref(lost), lost)
        for path, one in module.named_parameters():
            if one.grad is not None:
                translator.target(f"grad:{path}", recorder.ref(one.grad), one.grad)
        for path, one in module.named_parameters() if optimizer is not None else ():
            translator.target(f"new:{path}", recorder.ref(one), one)
    prune(builder, translator.abandoned)
    counts = {key: dict(getattr(translator, key)) for key in ("opaque", "drawn", "frozen", "escapes")}
    return builder.build(recorded=type(module).__name__, torch=torch.__version__, decomposed=decompose, **counts)


def capture(
    module: Any,
    *inputs: Any,
    loss: Loss | None = None,
    optimizer: Any = None,
    keywords: Mapping[str, Any] | None = None,
    decompose: bool = True,
) -> Recording:
    """Record the calls themselves, with all their results: what a replay through torch is checked against.

    Parameters
    ----------
    module, inputs, loss, optimizer, keywords, decompose
        As those of :func:`record`.

    Returns
    -------
    Recording

    Raises
    ------
    UnsupportedError
        As :func:`record`.

    Examples
    --------
    >>> import torch
    >>> found = capture(torch.nn.Linear(2, 3), torch.ones(1, 2), loss=lambda y: y.sum())
    >>> found.replay()
    []
    """
    _check(keywords, loss, optimizer)
    recording = Recording()
    recorder = _recorder(module, recording, decompose)
    recording.result, recording.loss = _run(recorder, inputs, keywords or {}, loss, optimizer)
    for path, one in module.named_parameters():
        if one.grad is not None:
            recording.gradients[path] = one.grad.detach().clone()
    return recording


def _recorder(module: Any, listener: Listener, decompose: bool) -> Recorder:
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedError(f"module is {type(module).__name__}; accepted: a torch.nn.Module")
    refuse_compiled(module, "record")
    refuse_empty(module, "record")
    return Recorder(listener, module, decompositions(frozenset(RULES)) if decompose else None)


def _run(
    recorder: Recorder, inputs: tuple[Any, ...], keywords: Mapping[str, Any], loss: Loss | None, optimizer: Any
) -> tuple[Any, Any]:
    with plain_kernels(), sdpa_kernel(SDPBackend.MATH), recorder.hooks(), recorder:
        result = recorder.module(*inputs, **keywords)
        recorder.path = "loss"
        lost = loss(result) if loss is not None else _own_loss(result)
        if lost is None and optimizer is not None:
            raise UnsupportedError(f"the result, {_shown(result)}, is no loss for the optimiser's step; give loss=")
        if lost is None:
            return result, None
        if not isinstance(lost, torch.Tensor) or lost.numel() != 1:
            raise UnsupportedError(f"the loss is {_shown(lost)}; accepted: a tensor with one element")
        recorder.phase = "backward"
        if lost.requires_grad:
            lost.backward()
        recorder.phase, recorder.path = "update", "optimizer"
        if optimizer is not None:
            optimizer.step()
    return result, lost


def _check(keywords: Any, loss: Any, optimizer: Any) -> None:
    for name, given, fine, wanted in (
        ("keywords", keywords, isinstance(keywords or {}, Mapping), "a mapping of arguments' names to what they are"),
        ("loss", loss, loss is None or callable(loss), "a function of the module's result"),
        ("optimizer", optimizer, optimizer is None or hasattr(optimizer, "step"), "a torch.optim.Optimizer"),
    ):
        if not fine:
            raise UnsupportedError(f"{name} is {type(given).__name__}; accepted: {wanted}")
    if optimizer is not None:
        check_closure(optimizer, "record without optimizer=, or")


def _shown(x: Any) -> str:
    return f"a tensor of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__


def _own_loss(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return result if result.numel() == 1 and result.requires_grad else None
    return getattr(result, "loss", None)
