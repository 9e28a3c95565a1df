"""``floatemu doctor``: what is installed where."""

from __future__ import annotations

from ..making import Answer, command


@command("doctor")
def doctor() -> Answer:
    """Check this installation.

    What was found where, versions, CPU, cache, optional parts."""
    from ...doctor import examine, print_doctor

    found = examine()
    return {"ok": all(check["ok"] for check in found["checks"]), **found}, print_doctor
