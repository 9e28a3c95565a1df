"""The mitigation lab: training experiments in sweeps that can be killed, and what they say in numbers.

Names are loaded when first used: a worker imports this package before numpy is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .executors import open_executor as open_executor
    from .plan import Plan as Plan
    from .plan import plan_from as plan_from
    from .plan import standard_plan as standard_plan
    from .running import run_lab as run_lab
    from .specs import read_yaml as read_yaml
    from .sweeping import LabError as LabError
    from .sweeping import Sweep as Sweep
    from .sweeping import sweep as sweep
    from .verdicts import compare as compare
    from .verdicts import interval as interval

_WHERE = {
    "LabError": "sweeping",
    "Plan": "plan",
    "Sweep": "sweeping",
    "compare": "verdicts",
    "interval": "verdicts",
    "open_executor": "executors",
    "plan_from": "plan",
    "read_yaml": "specs",
    "run_lab": "running",
    "standard_plan": "plan",
    "sweep": "sweeping",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'analysis.lab' has no attribute {name!r}")
    return getattr(importlib.import_module(f"analysis.lab.{_WHERE[name]}"), name)
