"""``floatemu formats``: the table of formats, or one of them."""

from __future__ import annotations

import click

from ..making import Answer, announce, command


@command("formats")
@click.argument("name", required=False)
def formats(name: str | None) -> Answer:
    """List the formats, or show one's landmarks."""
    import floatemu as fe

    from ... import landmarks

    if name is not None:
        fmt = landmarks.find(name)
        announce((name,))
        facts = landmarks.landmarks(fmt)
        return {"formats": [facts]}, lambda result, page: landmarks.print_landmarks(facts, page)
    found = list(fe.FORMATS.values())
    return (
        {"formats": [landmarks.landmarks(fmt) for fmt in found]},
        lambda result, page: landmarks.print_table(found, page),
    )
