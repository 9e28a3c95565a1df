"""Error analysis for floatemu: what low precision does to every operation of a forward and backward pass.

Names are loaded when first used, so that importing the package costs nothing.

Examples
--------
>>> import analysis as an
>>> run = an.replay(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("float16"))
>>> run.value("result").item(), run.events[0].kind, run.events[0].step
(inf, 'overflow', 0)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import amp as amp
    from . import bounds as bounds
    from . import experiments as experiments
    from . import lab as lab
    from . import measures as measures
    from . import mitigations as mitigations
    from . import nets as nets
    from . import optimisers as optimisers
    from .arithmetics.exact import Exact as Exact
    from .arithmetics.float64 import Float64 as Float64
    from .arithmetics.stochastic import Stochastic as Stochastic
    from .contrast import compare as compare
    from .engine import Run as Run
    from .engine import replay as replay
    from .ensembles import ensemble as ensemble
    from .events import Event as Event
    from .ops.builder import Builder as Builder
    from .ops.spec import OpSpec as OpSpec
    from .policy import Numerics as Numerics
    from .policy import Policy as Policy
    from .policy import Rule as Rule
    from .recording import record as record
    from .results import Analysis as Analysis
    from .results import analyze as analyze
    from .tape import Node as Node
    from .tape import Tape as Tape
    from .tracing import record_numpy as record_numpy
    from .watching import watch as watch

_WHERE = {
    "Analysis": "results",
    "Builder": "ops",
    "Event": "events",
    "Exact": "arithmetics.exact",
    "Float64": "arithmetics.float64",
    "Node": "tape",
    "Numerics": "policy",
    "OpSpec": "ops",
    "Policy": "policy",
    "Rule": "policy",
    "Run": "engine",
    "Stochastic": "arithmetics.stochastic",
    "Tape": "tape",
    "amp": "",
    "analyze": "results",
    "bounds": "",
    "ensemble": "ensembles",
    "experiments": "",
    "compare": "contrast",
    "lab": "",
    "measures": "",
    "mitigations": "",
    "nets": "",
    "optimisers": "",
    "record": "recording",
    "record_numpy": "tracing",
    "replay": "engine",
    "watch": "watching",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    if not _WHERE[name]:
        return importlib.import_module(f"analysis.{name}")
    value = getattr(importlib.import_module(f"analysis.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
