"""Every operation's CUDA kernel replaced by its CPU kernel on the same memory; see scripts/simulate_cuda.py.

Imported first, or given to pytest by ``-p simulated_device``. Views, allocation and copies to and from the host remain
torch's own. cuDNN and, but with TRITON_INTERPRET=1, Triton are as if they were not there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

OWN = ("empty", "set_", "resize_", "as_strided", "view", "_reshape_alias", "unfold", "alias", "detach", "_unsafe_view")
OWN += ("_local_scalar_dense", "record_stream", "is_pinned", "_pin_memory", "_to_copy", "_has_same_storage")
OWN += ("_fused_sdp_choice", "_cudnn_init", "_nested", "_sparse", "to_sparse")
"""Beginnings of the names of operations that are left to torch."""
ALSO = frozenset({"aten::copy_"})
"""Operations that launch kernels without having one for CUDA."""


def hosts(tensor: Any) -> Any:
    """Return the CPU tensor that lies in the same memory."""
    storage = tensor.untyped_storage()
    if tensor.numel() == 0 or storage.nbytes() == 0:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    memory = (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())
    flat = torch.frombuffer(memory, dtype=torch.uint8)
    found = torch.empty(0, dtype=tensor.dtype)
    found.set_(flat.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())
    found = torch._conj(found) if tensor.is_conj() else found
    return torch._neg_view(found) if tensor.is_neg() else found


def devices(tensor: Any, given: list[tuple[Any, Any]]) -> Any:
    """Return a CUDA tensor of a CPU kernel's result: an operand, a view of one, or a copy."""
    for low, high in given:
        if tensor is low:
            return high
    for low, high in given:
        if tensor.numel() and tensor.untyped_storage().data_ptr() == low.untyped_storage().data_ptr():
            return high.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")
    if tensor.numel():
        ctypes.memmove(made.data_ptr(), tensor.data_ptr(), made.untyped_storage().nbytes())
    return made


@contextlib.contextmanager
def drawing(op: Any, args: Any, kwargs: Any) -> Iterator[None]:
    """Let the CPU's generator stand for the device's, whose offset moves on as on a GPU."""
    if torch.Tag.nondeterministic_seeded not in op.tags:
        yield
        return
    given = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Generator)]
    own = given[0] if given else torch.cuda.default_generators[0]
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed((own.initial_seed() * 1_000_003 + own.get_offset()) % 2**63)
    own.set_offset(own.get_offset() + 4)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


WRAPPED: dict[type, Callable[[Any], Any]] = {
    int: torch.tensor,
    bool: torch.tensor,
    float: lambda x: torch.tensor(x, dtype=torch.float64),
}


def called(op: Any, args: Any, kwargs: Any) -> Any:
    """Call an operation's CPU kernel."""
    by_hand = BY_HAND.get(op.name())
    if by_hand is not None:
        return by_hand(*args, **kwargs)
    try:
        return op(*args, **kwargs)
    except RuntimeError as error:
        if "Expected a value of type" not in str(error):
            raise
    # a number that C++ had wrapped in a tensor came here as Python's
    pairs = zip(args, op._schema.arguments)
    wrapped = [WRAPPED[type(x)](x) if str(of.type) == "Tensor" and type(x) in WRAPPED else x for x, of in pairs]
    return op(*wrapped, **kwargs)


def kernel(op: Any) -> Callable[..., Any]:
    """Return what is registered for CUDA."""

    def run(*args: Any, **kwargs: Any) -> Any:
        given: list[tuple[Any, Any]] = []

        def low(tensor: Any) -> Any:
            if tensor.device.type != "cuda":
                return tensor
            given.append((hosts(tensor), tensor))
            return given[-1][0]

        with torch._C._AutoDispatchBelowAutograd(), torch._C._DisableTorchDispatch():
            below = tree_map_only(torch.Tensor, low, (args, kwargs))
            below = tree_map_only(torch.device, lambda _: torch.device("cpu"), below)
            below = tree_map_only(torch.Generator, lambda one: torch.default_generator, below)
            with drawing(op, args, kwargs):
                found = called(op, *below)
            for host, tensor in given:
                if op._schema.is_mutable and host.shape != tensor.shape:
                    hosts(tensor.resize_(host.shape)).copy_(host)
            return tree_map_only(torch.Tensor, lambda tensor: devices(tensor, given), found)

    return run


def lstm(given: Any, hidden: Any, cx: Any, *biases: Any) -> tuple[Any, ...]:
    """The cell as the documentation of torch.nn.LSTM writes it."""
    gates = sum((one for one in biases if one is not None), given + hidden)
    i, f, g, o = (
        change(one) for change, one in zip((torch.sigmoid,) * 2 + (torch.tanh, torch.sigmoid), gates.chunk(4, 1))
    )
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat([i, f, g, o], 1)


def gru(given: Any, hidden: Any, hx: Any, given_bias: Any = None, hidden_bias: Any = None) -> tuple[Any, ...]:
    """The cell as the documentation of torch.nn.GRU writes it."""
    given = given if given_bias is None else given + given_bias
    hidden = hidden if hidden_bias is None else hidden + hidden_bias
    (ir, iz, i_n), (hr, hz, hn) = given.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (ir + hr).sigmoid(), (iz + hz).sigmoid()
    n = (i_n + r * hn).tanh()
    return (1 - z) * n + z * hx, torch.cat([r, z, n, hx, hn], 1)


def lstm_backward(grad_hy: Any, grad_cy: Any, cx: Any, cy: Any, kept: Any, biased: bool) -> tuple[Any, ...]:
    """Its derivative, from the gates that it kept."""
    if grad_hy is None and grad_cy is None:
        return None, None, None
    hy, c = (torch.zeros_like(cx) if one is None else one for one in (grad_hy, grad_cy))
    (i, f, g, o), t = kept.chunk(4, 1), cy.tanh()
    c = c + hy * o * (1 - t * t)
    raw = torch.cat([c * g * i * (1 - i), c * cx * f * (1 - f), c * i * (1 - g * g), hy * t * o * (1 - o)], 1)
    return raw, c * f, raw.sum(0) if biased else None


def gru_backward(grad_hy: Any, kept: Any, biased: bool) -> tuple[Any, ...]:
    """Likewise."""
    r, z, n, hx, hn = kept.chunk(5, 1)
    of_n = grad_hy * (1 - z) * (1 - n * n)
    parts = of_n * hn * r * (1 - r), grad_hy * (hx - n) * z * (1 - z)
    given, hidden = (torch.cat([*parts, last], 1) for last in (of_n, of_n * r))
    return given, hidden, grad_hy * z, *((one.sum(0) if biased else None) for one in (given, hidden))


def dropout(x: Any, share: float, train: bool | None) -> tuple[Any, Any]:
    """Inverted dropout."""
    mask = torch.rand(x.shape) >= share if train and share else torch.ones(x.shape, dtype=torch.bool)
    return x * mask / (1 - share) if train and share else x.clone(), mask


BY_HAND: dict[str, Callable[..., Any]] = {
    "aten::_thnn_fused_lstm_cell": lstm,
    "aten::_thnn_fused_lstm_cell_backward_impl": lstm_backward,
    "aten::_thnn_fused_gru_cell": gru,
    "aten::_thnn_fused_gru_cell_backward": gru_backward,
    "aten::native_dropout": dropout,
    "aten::native_dropout_backward": lambda grad, mask, scale: grad * mask * scale,
}
"""Operations that have a kernel for CUDA only."""


def install() -> Any:
    """Register every kernel; what is returned keeps them."""
    library = torch.library.Library("aten", "IMPL")
    warnings.simplefilter("ignore")
    for name in torch._C._dispatch_get_all_op_names():
        base, _, overload = name.removeprefix("aten::").partition(".")
        has = torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA") or name in ALSO
        packet = getattr(torch.ops.aten, base, None) if name.startswith("aten::") and has else None
        op = getattr(packet, overload or "default", None)
        if op is not None and not base.startswith(OWN) and "sparse" not in base and "quantize" not in base:
            library.impl(name.removeprefix("aten::"), kernel(op), "CUDA", allow_override=True)
    return library


if "TRITON_INTERPRET" not in os.environ:
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
torch.cuda.init()
torch.backends.cudnn.enabled = False
LIBRARY = install()
