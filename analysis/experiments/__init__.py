"""Training experiments: what a case is, what is measured in it, and the failures that mitigations are tried on."""

from __future__ import annotations

from ..experiments.case import Case, applies
from ..experiments.failures import FAILURES, METRICS, Failure, Metric, metric
from ..experiments.run import run_case

__all__ = ["FAILURES", "METRICS", "Case", "Failure", "Metric", "applies", "metric", "run_case"]
