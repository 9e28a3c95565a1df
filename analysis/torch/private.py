"""Every name of torch that is not public, each behind a check that it is there: the one place to look when it moves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch

from floatemu.errors import UnsupportedError

from . import cells, kernels

__all__ = [
    "Mode",
    "autograd_node",
    "decompositions",
    "neg_view",
    "plain_kernels",
    "refuse_compiled",
    "refuse_empty",
    "sequence_number",
    "storage_key",
    "storage_watch",
    "unseen",
]

from torch.utils._python_dispatch import TorchDispatchMode as Mode

try:
    from torch.multiprocessing import reductions as _reductions
except ImportError:
    _reductions = None

_NODE: Callable[[], Any] | None = getattr(torch._C, "_current_autograd_node", None)
_SEQUENCE: Callable[[], int] | None = getattr(torch.autograd, "_get_sequence_nr", None)

# Fused operations that attribution would not see into, beyond those of the core set.
_FUSED = (
    "native_layer_norm",
    "native_layer_norm_backward",
    "_softmax",
    "_softmax_backward_data",
    "_log_softmax",
    "_log_softmax_backward_data",
    "gelu",
    "gelu_backward",
    "silu",
    "silu_backward",
    "addmm",
    "nll_loss_forward",
    "nll_loss_backward",
    "nll_loss2d_forward",
    "nll_loss2d_backward",
    "embedding_dense_backward",
    "native_batch_norm",
    "native_batch_norm_backward",
    "native_dropout",
    "native_dropout_backward",
)
# Decomposed, these lose what the tape's own rules know better: a mean is a sum and a division. The kernels of attention
# and of oneDNN's recurrent layers, decomposed, lack results that their backward passes read.
_KEPT: tuple[str, ...] = ("mean", "sum", "amax", "where", "cat", "copy", "clone", "_to_copy", "fill", "zero", "lerp")
_KEPT += ("_scaled_dot_product_flash_attention_for_cpu", "mkldnn_rnn_layer")
# This one's decomposition is another number (torch 2.13: 4.89 for 1.51).
_KEPT += ("multilabel_margin_loss_forward",)


_TELLING = ("torch._decomp.decompositions", "torch._refs.nn.functional")


def autograd_node() -> Any:
    """Return the node of the backward pass that is running now, or None.

    Returns
    -------
    object or None
        None, too, where torch does not tell: backward operations then have no path.
    """
    return None if _NODE is None else _NODE()


def sequence_number() -> int | None:
    """Return the number of the autograd node that was made last in this thread.

    Returns
    -------
    int or None
        torch counts the next one, hence the -1.
    """
    return None if _SEQUENCE is None else _SEQUENCE() - 1


def storage_key(tensor: Any) -> int:
    """Return what tells the tensor's storage from every other that is alive, empty ones included.

    Parameters
    ----------
    tensor : Tensor

    Returns
    -------
    int

    Raises
    ------
    UnsupportedError
        If the tensor has none, as sparse ones.
    """
    try:
        if tensor.is_nested:
            raise NotImplementedError
        storage = tensor.untyped_storage()
    except NotImplementedError:
        kind = "a nested tensor" if tensor.is_nested else f"a tensor of layout {tensor.layout}"
        raise UnsupportedError(
            f"a call gave {kind}, whose memory cannot be followed; accepted: strided "
            "tensors; make it dense, for instance with torch.nn.Embedding(..., sparse=False)"
        ) from None
    key = getattr(storage, "_cdata", None)
    return storage.data_ptr() if key is None else int(key)


def storage_watch(tensor: Any) -> Callable[[], bool]:
    """Return what tells whether the tensor's storage is gone; until it is asked no more, its key is not used again.

    Parameters
    ----------
    tensor : Tensor

    Returns
    -------
    callable
        Always False, and the storage kept, where torch has no weak references to storages.
    """
    storage = tensor.untyped_storage()
    weak = getattr(_reductions, "StorageWeakRef", None)
    if weak is None:
        return lambda: storage is None
    found: Callable[[], bool] = weak(storage).expired
    return found


def neg_view(tensor: Any) -> Any:
    """Return the tensor with all signs turned, in the same memory.

    Parameters
    ----------
    tensor : Tensor
    """
    return torch._neg_view(tensor)


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Let no dispatch mode see what is called."""
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        yield


class _PlainKernels:
    """The switches belong to the process: the first of several threads turns them off, the last one back."""

    def __init__(self) -> None:
        self._lock, self._inside, self._stack = threading.Lock(), 0, contextlib.ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                for library in ("mkldnn", "cudnn"):
                    self._stack.enter_context(_without(library))
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._stack.close()


_PLAIN = _PlainKernels()


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Switch oneDNN and cuDNN off: their kernels, such as whole recurrent layers, show nothing of what is inside.

    Their public switches touch more than that, hardware that is not there or how float32 products are made, and warn
    of it; a warning is an error to some.
    """
    _PLAIN.enter()
    try:
        yield
    finally:
        _PLAIN.leave()


@contextlib.contextmanager
def _without(library: str) -> Iterator[None]:
    get, put = (getattr(torch._C, f"_{verb}_{library}_enabled", None) for verb in ("get", "set"))
    if get is None or put is None:
        with getattr(torch.backends, library).flags(enabled=False):
            yield
        return
    before = get()
    put(False)
    try:
        yield
    finally:
        put(before)


@lru_cache(maxsize=1)  # a third of a second, the same each time
def decompositions(known: frozenset[str]) -> dict[Any, Callable[..., Any]]:
    """Return torch's own decompositions of fused operations, overload by overload.

    Parameters
    ----------
    known : frozenset of str
        Names of operations that have a rule: of these only the core set's decompositions are used.

    Returns
    -------
    dict
    """
    from torch._decomp import core_aten_decompositions, decomposition_table, get_decompositions

    aten = torch.ops.aten
    # those registered elsewhere write one operation as another of torch's internal ones, which says nothing more
    table = {
        key: rule
        for key, rule in decomposition_table.items()
        if _plain(key) not in known and rule.__module__ in _TELLING
    }
    table.update(core_aten_decompositions())
    table.update(get_decompositions([getattr(aten, name) for name in _FUSED if hasattr(aten, name)]))
    table.update({**cells.DECOMPOSITIONS, **kernels.DECOMPOSITIONS})
    return {key: rule for key, rule in table.items() if _plain(key) not in _KEPT}


def _plain(func: Any) -> str:
    # "aten::lerp_.Scalar" is a form of lerp
    return str(func.name()).split("::")[-1].split(".")[0].rstrip("_")


def refuse_empty(module: Any, doing: str) -> None:
    """Refuse a module whose parameters have no numbers, since they wait for a first run or lie on the meta device.

    Parameters
    ----------
    module : Module
    doing : str
        What the caller does with models, as a command.

    Raises
    ------
    UnsupportedError
        With the name of the first such tensor.
    """
    for path, one in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(one):
            why = f"it gets its shape in the first run: call the model once, then {doing} it"
        elif one.is_meta:
            why = f"it lies on the meta device: give it numbers, for instance by .to_empty(), then {doing} the model"
        else:
            continue
        raise UnsupportedError(f"{path} has no numbers, since {why}")


def refuse_compiled(module: Any, doing: str) -> None:
    """Refuse a module whose kernels were generated, or one of whose parts' were: their operations are not seen.

    Parameters
    ----------
    module : Module
    doing : str
        What the caller does with models, as a command.

    Raises
    ------
    UnsupportedError
        With the path of the first such part.
    """
    for path, part in module.named_modules():
        if hasattr(part, "_orig_mod") or isinstance(part, torch.jit.ScriptModule):
            instead = f"the {'model with the module' if path else 'module'} it was made from"
        elif getattr(part, "_compiled_call_impl", None) is not None:
            instead = "the model before .compile() is called"
        else:
            continue
        name = path or type(module).__name__
        raise UnsupportedError(
            f"{name} is compiled: its kernels call no operation that could be seen; {doing} {instead}"
        )
