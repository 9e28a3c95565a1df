"""Every unit is identified from its answers alone, and so is one that nobody ships."""

import numpy as np
import pytest

import floatemu as fe
from floatemu.matrix.drawn import searching
from floatemu.matrix.identification import answering, identify, same
from floatemu.matrix.visibility import canonical

UNITS = {unit.name: unit for unit in fe.matrix.UNITS}
QUICK = {
    "volta.mma.binary16.binary16.binary16": 8,
    "ampere.mma.tf32.tf32.binary32": 8,
    "ampere.mma.binary64.binary64.binary64": 4,
    "hopper.wgmma.e4m3fn.e4m3fn.binary32": 64,
    "hopper.mma.e4m3fn.e4m3fn.binary16": 32,
    "turing.mma.int8.uint8.int32.satfinite": 128,
    "turing.mma.uint4.uint4.int32": 128,
    "cdna1.mfma.binary32.binary32.binary32": 4,
    "cdna3.mfma.binary16.binary16.binary32.k4": 8,
}
"""Units that are quick to identify, and how many products they are asked for; all of them are slow."""


def asked(unit):
    """The arguments that say what a unit takes."""
    return {name: getattr(unit, name) for name in ("a", "b", "output", "scale", "block")}


def arithmetic(unit):
    """What decides how a unit answers: two units that have this in common are one device to us."""
    return unit.step, unit.a, unit.b, unit.output, unit.scale, unit.block, unit.register, unit.nan_code


DISTINCT = {}
"""One unit for each arithmetic, of all rows of the table."""
for _unit in fe.matrix.UNITS:
    DISTINCT.setdefault(arithmetic(_unit), _unit)


def blind(unit):
    """A device that gives away nothing but answers."""
    device = answering(unit)
    return lambda *arrays, **scales: device(*arrays, **scales)


def agree(first, second, q, total, dots=(48, 96)):
    """Whether two steps give the same bits on so many drawn inputs."""
    done = seed = 0
    while done < total:
        for draw in searching(q):
            batch = draw(q, 1000 + seed, *dots)
            if not np.all(same(batch.predict(first), batch.predict(second))):
                return False
            done += batch.size
        seed += 1
    return True


@pytest.mark.parametrize(("name", "k"), QUICK.items())
def test_a_unit_is_identified_blind(name, k):
    unit = UNITS[name]
    found = identify(blind(unit), **asked(unit), k=k)
    assert found.ok
    assert found.contains(unit.step)
    assert name in found.classes[0].units
    assert agree(found.step, unit.step, found.question, 4000)


@pytest.mark.slow
@pytest.mark.parametrize("unit", DISTINCT.values(), ids=lambda unit: unit.name)
def test_every_unit_is_identified_blind(unit):
    found = identify(blind(unit), **asked(unit))
    assert found.contains(unit.step)
    kept = [canonical(candidate.step, found.question)[0] for candidate in found.classes]
    for step in (unit.step, *kept):
        if step != kept[0]:
            assert agree(kept[0], step, found.question, 10**6)
    assert found.ok, str(found)
    rows = [u.name for u in fe.matrix.UNITS if arithmetic(u) == arithmetic(unit)]
    assert set(rows) <= set(found.classes[0].units)
