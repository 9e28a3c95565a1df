"""What identification rests on: devices nobody ships, levels, what cannot be seen, captures, errors."""

from dataclasses import replace

import numpy as np
import pytest

import floatemu as fe
from floatemu.errors import FormatError, UnsupportedError
from floatemu.formats import get_format
from floatemu.matrix.drawn import opening, searching
from floatemu.matrix.hypotheses import Promoted, Question, families
from floatemu.matrix.identification import answering, identify, question, same
from floatemu.matrix.probes import Words, designed, diagonal, to_codes, to_values
from floatemu.matrix.report import reading
from floatemu.matrix.steps import BINARY16, BINARY32, E8M13, Chain, Fused, Integers
from floatemu.matrix.visibility import canonical
from floatemu.projection import Rounding

NEAREST, DOWN, ZERO = Rounding.NEAREST_TIES_TO_EVEN, Rounding.TOWARD_NEGATIVE, Rounding.TOWARD_ZERO


def device(step, a, output="binary32", **more):
    """A device with an arithmetic of our choice."""
    q = question(a, output=output, **more)
    return answering(q.unit(step))


def test_an_arithmetic_that_nobody_ships_is_found_exactly():
    step = Fused(16, 22, -131, alignment=NEAREST)
    found = identify(device(step, "bfloat16"), a="bfloat16", k=32)
    assert found.step == step
    assert found.classes[0].unseen == {}
    assert found.classes[0].units == ()


@pytest.mark.parametrize(
    ("step", "a", "output", "k"),
    [
        (Fused(8, 19, -17, BINARY16, DOWN, normalised=True, accumulator_emin=-24), "binary16", "binary16", 16),
        (Fused(4, 11, -300, E8M13, signed_zero=True, operand_emin=-9), "e4m3fn", "binary32", 8),
        (Fused(4, 30, -300, rounding=NEAREST, order=tuple(range(8))), "e5m2", "binary32", 16),
    ],
    ids=["binary16", "e4m3fn", "late"],
)
def test_parameters_that_no_row_has_are_found(step, a, output, k):
    found = identify(device(step, a, output, k=k), a=a, output=output, k=k)
    assert found.ok
    assert found.contains(step)
    shown = {**vars(found.step), **dict.fromkeys(found.classes[0].unseen)}
    assert shown == {**vars(canonical(step, found.question)[0]), **dict.fromkeys(found.classes[0].unseen)}


def test_promotion_of_a_library_product_is_found():
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")

    def product(a, b):
        x, y = to_values(a, unit.a), to_values(b, unit.b)
        totals = [
            fe.matrix.gemm(unit, x[i : i + 32], y[i : i + 32].T, promote_every=64).diagonal()
            for i in range(0, len(x), 32)
        ]
        return to_codes(np.concatenate(totals).astype(np.float64), BINARY32)

    found = identify(product, a="e4m3fn", k=128, accumulator=False, promotion=True)
    assert found.contains(Promoted(unit.step, 64))
    assert found.ok


def test_an_accumulator_added_apart_is_a_promotion():
    q = question("e5m2", k=64, accumulator=False, promotion=True)
    late = Fused(16, 25, -133, order=tuple(range(32)))
    key, _ = canonical(late, q)
    assert key == canonical(Promoted(replace(late, order=()), 32), q)[0]
    for draw in searching(q):
        batch = draw(q, 7, 8, 16)
        assert np.all(same(batch.predict(late), batch.predict(key))), batch.name


def test_a_device_like_nothing_that_is_tried_is_refused():
    step = Fused(8, 24, -132)
    honest = device(step, "e5m2", k=16)
    wrong = identify(lambda a, b, c: honest(a, b, c) ^ 1, a="e5m2", k=16)
    assert wrong.classes == ()
    assert wrong.step is None
    assert "nothing that was tried" in str(wrong)


def test_values_do_as_well_as_codes():
    unit = fe.matrix.find("A100", "int8", "int32", saturate=True)

    def product(a, b, c):
        return fe.matrix.mma(unit, a[:, None], b[..., None], c[:, None, None])[:, 0, 0]

    assert identify(product, a="int8", output="int32", codes=False).step == Integers(32, saturate=True)


def test_binary64_is_asked_in_codes_and_values():
    q = question("binary64", output="binary64", k=4)
    by_codes = device(Chain(), "binary64", "binary64", k=4)

    def by_values(a, b, c):
        found = by_codes(*(to_codes(x, q.a) for x in (a, b, c)))
        return to_values(found, q.output)

    for call, codes in ((by_codes, True), (by_values, False)):
        assert identify(call, a="binary64", output="binary64", k=4, codes=codes).step == Chain()


def random_fused(q, seed):
    """A step with parameters drawn from those that are tried."""
    w = Words(seed, 0)

    def one(*choices):
        return choices[int(w.whole(0, len(choices) - 1))]

    output = q.output
    length = one(*(n for n in (1, 2, 4, 8, 16) if n <= q.k))
    order = one((), (), tuple(range(length)))
    emins = (None, *(e for e in (-14, min(q.a.qmin, q.b.qmin)) if e < max(q.a.emin, q.b.emin)))
    group = one(1, 2, 4, 8, 16) if q.block else 1
    result = one(output, E8M13) if output == BINARY32 else output
    emin = one(None, result.qmin)
    parts = {
        "length": length,
        "fraction": int(w.whole(q.least_fraction, 40)),
        "zero_exponent": int(w.whole(output.emin - 16, output.emin)),
        "result": result,
        "rounding": one(ZERO, NEAREST, DOWN),
        "alignment": one(ZERO, ZERO, NEAREST, DOWN),
        "accumulator_emin": emin,
        "signed_zero": one(True, False),
        "operand_emin": one(*emins),
    }
    if group > 1:
        return Fused(**parts, group=min(group, length))
    return Fused(**parts, normalised=one(True, False), order=order)


FORMATS = [
    ("binary16", "binary32", None, None), ("binary16", "binary16", None, None), ("bfloat16", "binary32", None, None),
    ("e4m3fn", "binary32", None, None), ("e4m3fn", "binary16", None, None), ("e5m2", "binary16", None, None),
    ("e4m3fn e5m2", "binary32", None, None), ("e2m1fn", "binary16", None, None),
    ("e5m2", "binary32", "e8m0fnu", 16), ("e2m1fn", "binary32", "e4m3fn", 16),
]  # fmt: skip


@pytest.mark.parametrize(("a", "output", "scale", "block"), FORMATS)
def test_what_cannot_be_seen_changes_nothing(a, output, scale, block):
    q = question(*a.split(), output=output, scale=scale, block=block, k=32)
    batches = [draw(q, seed, 8, 16) for seed in range(2) for draw in searching(q)]
    changed = 0
    for seed in range(60):
        step = random_fused(q, seed)
        key, why = canonical(step, q)
        if key == step:
            continue
        changed += 1
        assert canonical(key, q)[0] == key
        for batch in batches:
            assert np.all(same(batch.predict(step), batch.predict(key))), (step, why, batch.name)
    assert changed > 5


@pytest.mark.parametrize(("a", "output", "scale", "block"), FORMATS)
def test_levels_are_judged_by_inputs_that_later_parameters_cannot_change(a, output, scale, block):
    q = question(*a.split(), output=output, scale=scale, block=block, k=32)
    asked = [*opening(q), *(batch for batches in designed(q).values() for batch in batches)]
    judged = dict.fromkeys(("passing", "few", "safe"), 0)
    for seed in range(12):
        step = random_fused(q, seed)
        later = random_fused(q, seed + 1000)
        names = ["zero_exponent", "accumulator_emin", "signed_zero"]
        kinds = [("safe", names + ([] if q.a.k <= 8 else ["operand_emin"]))]
        kinds.append(("passing", [*kinds[0][1], "length", "operand_emin", "normalised"]))
        kinds.append(("few", [*kinds[0][1], "result", "rounding"]))
        for kind, parameters in kinds:
            if kind == "passing" and (step.order or step.group > 1):
                continue
            other = replace(step, **{name: getattr(later, name) for name in parameters})
            for batch in asked:
                mask = batch.mask(kind)
                if mask.any():
                    part = batch.only(mask)
                    judged[kind] += part.size
                    assert np.all(same(part.predict(step), part.predict(other), exact=False)), (kind, batch.name)
    assert judged["passing"] > 500
    assert judged["safe"] > 500
    assert judged["few"] > 500


def test_every_level_names_a_step_once():
    for family in families(question("binary16", k=16)):
        steps = list(family.levels[0].expand(None))
        assert len(set(steps)) == len(steps)


def test_dot_products_given_one_by_one_keep_their_order():
    q = Question(get_format("binary16"), get_format("binary16"), BINARY32, 4)
    codes = {
        "a": np.arange(400, dtype=np.uint16).reshape(100, 4),
        "b": np.full((100, 4), 0x3C00, np.uint16),
        "c": np.arange(100, dtype=np.uint32),
    }
    back = [batch.inputs() for batch in diagonal("x", q, codes)]
    for name, array in codes.items():
        assert np.array_equal(np.concatenate([part[name] for part in back]), array)


def test_readings_say_what_results_show():
    assert reading("P5", ["P5/j=1", "P5/j=2"], np.array([0.0, 1.0])) == (
        "first place outside the first product's step: j=2"
    )
    assert reading("P5", ["P5/j=1"], np.array([0.0])) == "all places share a step"
    assert reading("P1", ["P1/k=5"], np.array([0.0])) == "always zero"
    assert reading("P2", ["P2/sum", "P2/bit=1", "P2/bit=2"], np.array([9.0, 1.5, 1.0])) == "fraction bits up to 1 pass"
    assert reading("P7", ["P7/late"], np.array([1.0])) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a is not given"),
        ({"a": "int8"}, "either all three are integers or none is"),
        ({"a": "fp16", "k": 0}, "not a positive number"),
        ({"a": "e2m1fn", "scale": "e8m0fnu"}, "has both"),
        ({"a": "e2m1fn", "scale": "e8m0fnu", "block": 48}, "does not divide"),
        ({"a": "fp16", "promotion": True}, "without accumulator"),
    ],
    ids=["no format", "mixed", "k", "block", "divides", "promotion"],
)
def test_questions_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(UnsupportedError, match=message):
        identify(lambda a, b, c: c, **arguments)


def test_answers_that_make_no_sense_are_refused():
    with pytest.raises(UnsupportedError, match=r"shape \(2,\)"):
        identify(lambda a, b, c: c[:2], a="fp16")
    with pytest.raises(FormatError, match="codes=False"):
        identify(lambda a, b, c: c.astype(float), a="fp16")
    with pytest.raises(FormatError, match="are integers"):
        identify(lambda a, b, c: c.astype(float), a="int8", output="int32")
