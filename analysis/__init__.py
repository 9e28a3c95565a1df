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
    from analysis import measures as measures
    from analysis import nets as nets
    from analysis.arithmetics.exact import Exact as Exact
    from analysis.arithmetics.float64 import Float64 as Float64
    from analysis.engine import Run as Run
    from analysis.engine import replay as replay
    from analysis.events import Event as Event
    from analysis.ops.builder import Builder as Builder
    from analysis.ops.spec import OpSpec as OpSpec
    from analysis.policy import Numerics as Numerics
    from analysis.policy import Policy as Policy
    from analysis.policy import Rule as Rule
    from analysis.record import record_numpy as record_numpy
    from analysis.results import Analysis as Analysis
    from analysis.results import analyze as analyze
    from analysis.tape import Node as Node
    from analysis.tape import Tape as Tape

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
    "Tape": "tape",
    "analyze": "results",
    "measures": "",
    "nets": "",
    "record_numpy": "record",
    "replay": "engine",
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
