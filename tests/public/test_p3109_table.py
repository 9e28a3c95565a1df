"""The conformance tables of docs/p3109.md: every operation of the report is listed, every named test exists."""

import ast
import importlib.util
import inspect
import sys
from functools import cache
from pathlib import Path

import pytest

import floatemu as fe

ROOT = Path(__file__).resolve().parents[2]
REPORT = """
Convert Negate Abs Add Subtract Multiply FMA FAA Minimum Maximum MinimumNumber MaximumNumber MinimumMagnitude
MaximumMagnitude MinimumMagnitudeNumber MaximumMagnitudeNumber MinimumFinite MaximumFinite Clamp CompareLess
CompareLessEqual CompareEqual CompareGreater CompareGreaterEqual IsZero IsOne IsNaN IsInfinite IsFinite IsSignMinus
IsNormal IsSubnormal BitwidthOf PrecisionOf SignednessOf DomainOf ExponentBitwidthOf TrailingSignificandBitwidthOf
ExponentBiasOf MaxFiniteOf MinFiniteOf MinPositiveOf MaxSubnormalOf MinNormalOf RoundOf SatOf Divide Sqrt Recip RSqrt
Exp Exp2 ExpMinusOne Log Log2 LogOnePlus Softplus NextGreaterThan NextLessThan CopySign TotalOrder Class Hypot ArcTan2
ArcTan2Pi Sin Cos Tan ArcSin ArcCos ArcTan SinPi CosPi TanPi ArcSinPi ArcCosPi ArcTanPi Sinh Cosh Tanh ArcSinh ArcCosh
ArcTanh BlockDecode BlockProject ConvertFromBlock ConvertToBlock ConvertToBlockMaxAbsFinite BlockReduceAdd
BlockReduceMultiply BlockDotProduct
""".split()
NOT_OF_THE_REPORT = {"Block", "CLASSES", "OPERATIONS", "Specialization", "block_operation", "exists", "kappa"}
NOT_OF_THE_REPORT |= {"scaled_operation", "specialization"}


@pytest.fixture(scope="module")
def tables(monkeypatch_module):
    monkeypatch_module.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("table_of_p3109", ROOT / "scripts" / "table_of_p3109.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch
    sys.modules.pop("p3109_catalogue", None)


@cache
def functions(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_operation_of_the_report_is_listed_once(tables):
    assert sorted(row.name for row in tables.rows()) == sorted(REPORT)
    assert set(fe.p3109_ops.__all__) == {*REPORT} | NOT_OF_THE_REPORT
    assert {row.name for row in tables.forms()} == {f + n for f in ("Block", "Scaled") for n in fe.p3109_ops.OPERATIONS}


def test_operations_that_are_there_have_tests_and_tests_exist(tables):
    for row in [*tables.rows(), *tables.forms(), *tables.CLAUSES]:
        assert row.tests
        for test in row.tests:
            file, name = test.split("::")
            assert name in functions(ROOT / file), test


def test_status_says_what_is_there(tables):
    assert {row.status for row in tables.rows()} == {"done"}
    assert tables.Row("Pow", "", "", "", ()).status == "not yet"
    assert "104 of 104 done" in tables.operations_table()


@pytest.mark.parametrize("name", fe.p3109_ops.__all__)
def test_public_objects_are_documented_with_an_example(name):
    thing = getattr(fe.p3109_ops, name)
    if not callable(thing):
        return
    text = inspect.getdoc(thing)
    assert text.split("\n")[0].endswith(".")
    assert ">>>" in text
    if inspect.isfunction(thing):
        section = text.split("Parameters\n------")[1]
        assert [p for p in inspect.signature(thing).parameters if p not in section] == []
        assert "Returns\n------" in text
