"""Independent float64 runs of torch models, in which casts to float32 become casts to float64."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Widened(TorchDispatchMode):
    """Casts to float32 inside a model become casts to float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        args = tuple(torch.float64 if one is torch.float32 else one for one in args)
        return func(*args, **kwargs)


def wide(x: Any) -> Any:
    """Return real numbers as float64, others as they are."""
    return x.double() if x.is_floating_point() else x
