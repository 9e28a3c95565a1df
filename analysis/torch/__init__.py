"""Recording unmodified torch modules: the only part of the analysis that imports torch.

Examples
--------
>>> import torch, analysis as an
>>> an.record(torch.nn.Linear(2, 1), torch.ones(1, 2), loss=lambda y: y.sum()).target("loss").op
'sum'
"""

from __future__ import annotations

from .factory import record_made
from .record import capture, record

__all__ = ["capture", "record", "record_made"]
