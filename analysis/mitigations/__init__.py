"""THE TABLE of mitigations: pure functions on a policy or a training run, each saying what it can and cannot fix."""

from __future__ import annotations

# imported for what they enter into the table
from ..mitigations import architecture, gradients, precision  # noqa: F401
from ..mitigations.table import MITIGATIONS, Mitigation, NotApplicable, apply, parse
from ..mitigations.tapes import on_tape

__all__ = ["MITIGATIONS", "Mitigation", "NotApplicable", "apply", "on_tape", "parse"]
