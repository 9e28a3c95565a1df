"""Captures end to end against a simulated device: written, resumed, read back, compared; and damaged ones refused."""

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from capture import gemm, section, session  # noqa: E402
from capture.simulated import Simulated  # noqa: E402

import floatemu as fe  # noqa: E402
from floatemu.matrix import UNITS, capture, generator  # noqa: E402
from floatemu.matrix.capture import CaptureError, read_capture  # noqa: E402
from floatemu.matrix.schema import faults  # noqa: E402

SCHEMA = json.loads((Path(capture.__file__).parent / "schemas" / "capture.json").read_text())
ROWS = {row.name: row for row in UNITS}
UNIT = "hopper.wgmma.e4m3fn.e4m3fn.binary32"
TESTS = {"instructions": "instruction_test", "casts": "cast_test", "gemm": "gemm_test"}
FILES = {f"{part}.{kind}" for part in capture.PARTS for kind in ("json", "npz")} | {"capture.json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A capture by the script as a user runs it."""
    folder = tmp_path_factory.mktemp("capture") / "new"
    command = [sys.executable, "-W", "error", str(SCRIPTS / "capture_gpu.py"), "--out", str(folder), "--simulate", UNIT]
    done = subprocess.run([*command, "--vectors", "21"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(capture.PARTS)
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_files_are_few_and_small_and_keep_the_schema(made):
    assert {path.name for path in made.iterdir()} == FILES
    assert len(FILES) <= 8
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for path in made.iterdir():
        assert path.stat().st_size <= 16 * 2**20
        if path.suffix == ".json":
            document = json.loads(path.read_text())
            jsonschema.validate(document, {**SCHEMA["$defs"][document["part"]], "$defs": SCHEMA["$defs"]})
            jsonschema.validate(document, SCHEMA)


def test_index(made):
    found = read_capture(made / "capture.json")
    assert found.subject["kind"] == "simulated"
    assert found.subject["device"] == f"simulated {UNIT}"
    assert found.subject["sm"] == "9.0"
    assert [(row["name"], row["status"], row["reason"]) for row in found.sections] == [
        (part, "done", None) for part in capture.PARTS
    ]


def test_instructions_come_back_with_the_inputs_the_device_had(made):
    tests = list(read_capture(made).tests("instructions"))
    names = ["probes", *generator.DISTRIBUTIONS]
    assert [test.id for test in tests] == [f"wgmma_m64n8k32_f32_e4m3_e4m3/{name}" for name in names]
    for test in tests:
        assert test.unit == UNIT
        assert (test.status, test.reason, test.shape) == ("done", None, (64, 8, 32))
        assert dict(test.formats) == {"a": "e4m3fn", "b": "e4m3fn", "c": "binary32", "d": "binary32"}
        model = fe.matrix.mma(ROWS[UNIT], test.a[:, None, :], test.b[:, :, None], test.c[:, None, None], codes=True)
        assert model[:, 0, 0].tobytes() == test.d.tobytes()
    assert len(tests[0].labels) == len(tests[0].d) > 800
    assert tests[0].labels[0] == "P1/k=5"
    assert {len(test.d) for test in tests[1:]} == {21}


def test_tf32_operands_come_back_as_registers(tmp_path):
    options = session.Options(tmp_path, "ampere.mma.tf32.tf32.binary32", 9, 1, 100.0, ("instructions",))
    assert session.run(options, lambda line: None)
    tests = list(read_capture(tmp_path).tests())
    assert {test.formats["a"] for test in tests} == {"binary32"}
    cut = [test for test in tests if not test.id.endswith("probes")]
    assert all(not (test.a & 0x1FFF).any() for test in cut)
    whole = next(test for test in tests if test.id.endswith("probes"))
    assert (whole.a[[label.startswith("P15/") for label in whole.labels]] & 0x1FFF).any()
    for test in tests:
        model = fe.matrix.mma(
            ROWS[test.unit], test.a[:, None, :], test.b[:, :, None], test.c[:, None, None], codes=True
        )
        assert model[:, 0, 0].tobytes() == test.d.tobytes()


def test_conversions_come_back_with_hashes_that_can_be_made_again(made):
    tests = {test.instruction: test for test in read_capture(made).tests("casts")}
    assert set(tests) >= {"cvt.rz.bf16.f32", "cvt.rn.satfinite.e4m3x2.f16x2", "cvt.rna.tf32.f32"}
    test = tests["cvt.rn.satfinite.e4m3x2.f32"]
    assert (test.source, test.target, test.rounding, test.saturation) == (
        "binary32", "e4m3fn", "NEAREST_TIES_TO_EVEN", "SAT_FINITE",
    )  # fmt: skip
    chunk = int(test.chunks[-1])
    codes = np.arange(chunk << 20, (chunk + 1) << 20, dtype=np.uint32)
    outputs = fe.encode(codes.view(np.float32), "e4m3fn", saturation="SAT_FINITE")
    assert generator.chunk_hash(chunk << 20, outputs) == int(test.hashes[-1])
    assert (
        test.results.tobytes() == fe.encode(test.inputs.view(np.float32), "e4m3fn", saturation="SAT_FINITE").tobytes()
    )
    narrow = tests["cvt.rn.f16x2.e5m2x2"]
    assert (narrow.inputs.size, narrow.chunks.tolist()) == (256, [0])
    assert narrow.results.dtype == np.uint16


def test_products_come_back(made):
    tests = list(read_capture(made).tests("gemm"))
    ids = {test.id.partition("/")[2] for test in tests}
    assert ids == {"normal/k=256", "adversarial/k=256", "G1/k=256", "G3/k=256", "G4/k=256"}
    for test in tests:
        m, n, k = test.shape
        assert (test.a.shape, test.b.shape, test.d.shape) == ((m, k), (k, n), (m, n))
        model = fe.matrix.gemm(ROWS[test.unit], test.a, test.b, codes=True, **test.options)
        assert model.tobytes() == test.d.tobytes()
    g1 = {bool(test.options): test.d[:, 0].view(np.float32) for test in tests if test.id.endswith("G1/k=256")}
    # Products 4 and 2^-12: the small one is lost in the large one's accumulator, and kept in another chunk of 128.
    assert g1[False].tolist() == [4.0] * 256
    assert g1[True].tolist() == [4.0] * 128 + [4.0 + 2.0**-12] * 128


def test_a_second_run_makes_nothing_again(copy):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    lines = []
    assert session.run(session.Options(copy, UNIT, 99, 1, 100.0, session.PARTS), lines.append)
    assert [line.split(",")[0] for line in lines] == [f"{part}: there already" for part in session.PARTS]
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.parametrize("loss", ["gone", "cut"])
def test_a_section_that_lacks_is_made_again_and_the_same(copy, loss):
    before = (copy / "instructions.npz").read_bytes()
    if loss == "gone":  # as after a run that was killed while it wrote
        (copy / "instructions.json").unlink()
        (copy / ".instructions.npz.123.part").write_bytes(before[:100])
    else:
        (copy / "instructions.npz").write_bytes(before[:1000])
    lines = []
    assert session.run(session.Options(copy, UNIT, 21, 2, 100.0, session.PARTS), lines.append)
    assert [line.split(", ")[0] for line in lines] == [
        "instructions: done", "casts: there already", "gemm: there already",
    ]  # fmt: skip
    assert (copy / "instructions.npz").read_bytes() == before
    assert {path.name for path in copy.iterdir()} == FILES


def test_when_the_time_is_up_the_next_run_goes_on(tmp_path, monkeypatch):
    options = session.Options(tmp_path, UNIT, 5, 1, 0.0, session.PARTS)
    assert not session.run(options, lambda line: None)
    assert {row["status"] for row in read_capture(tmp_path).sections} == {"missing"}
    # Time that ends in the middle of a section leaves tests that say so, and the section is made again.
    ticks = iter([False] * 4 + [True] * 99)
    monkeypatch.setattr(section.Clock, "over", property(lambda clock: next(ticks)))
    session.run(options, lambda line: None)
    tests = list(read_capture(tmp_path).tests("instructions"))
    assert {test.status for test in tests} == {"done", "skipped"}
    assert {test.reason for test in tests if test.status == "skipped"} == {section.TIME}
    monkeypatch.undo()
    lines = []
    assert session.run(session.Options(tmp_path, UNIT, 5, 1, 100.0, session.PARTS), lines.append)
    assert lines[0].startswith("instructions: done")
    assert {test.status for test in read_capture(tmp_path).tests("instructions")} == {"done"}


def test_a_folder_of_another_device_is_not_mixed_up(copy):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "capture_gpu.py"), "--out", str(copy), "--simulate", "ada"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "give another folder" in done.stderr


def test_unknown_device_to_simulate(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "capture_gpu.py"), "--out", str(tmp_path / "x"), "--simulate", "abacus"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "no capture: no row is named 'abacus'" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_library_that_refuses_a_call_is_an_answer():
    def refuse(a, b):
        raise RuntimeError("not compiled with support for this\nsecond line")

    class Library:
        def calls(self):
            yield gemm.Call("torch.mm", {}, "int8", "int8", "int32", refuse)

    made = section.Section("gemm")
    gemm.capture(Library(), made, section.Clock(10), 90, (64,))
    assert [(test["status"], test["reason"], test["d"]) for test in made.tests] == [
        ("failed", "RuntimeError: not compiled with support for this", None)
    ]


def test_results_that_are_too_large_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(section, "MOST_BYTES", 100)
    options = session.Options(tmp_path, UNIT, 5, 1, 100.0, ("gemm",))
    assert not session.run(options, lambda line: None)
    (state,) = read_capture(tmp_path).sections
    assert state["status"] == "failed"
    assert "ask fewer --vectors" in state["reason"]
    assert [path.name for path in tmp_path.iterdir()] == ["capture.json"]


# What a stranger's capture may hold


def change(folder, part, edit):
    path = folder / f"{part}.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def rewrite(folder, part, arrays=None, data=None):
    """Replace a section's .npz, and make its JSON name the new one."""
    path = folder / f"{part}.npz"
    if data is None:
        with np.load(path) as old:
            arrays = {**dict(old), **arrays}
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        data = stream.getvalue()
    path.write_bytes(data)
    npz = {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    change(folder, part, lambda document: document.update(npz=npz))


def refusal(folder):
    with pytest.raises(CaptureError) as caught:
        list(read_capture(folder).tests())
    return str(caught.value).replace(str(folder), "")


@pytest.mark.parametrize(("edit", "message"), [
    (lambda d: d.update(schema="floatemu.capture/9"), "$.schema is 'floatemu.capture/9'"),
    (lambda d: d.pop("npz"), "$ has no 'npz'"),
    (lambda d: d["npz"].update(file="../x.npz"), "$.npz.file is '../x.npz'"),
    (lambda d: d["npz"].update(sha256="0" * 64), "its SHA-256 is not the one"),
    (lambda d: d["npz"].update(bytes=3), "not of 3 bytes"),
    (lambda d: d["tests"][0].update(n=0), "$.tests[0].n is 0, less than 1"),
    (lambda d: d["tests"][0].update(n=True), "$.tests[0].n is of type bool, not integer"),
    (lambda d: d["tests"][0].update(status="good"), "$.tests[0].status is 'good'"),
    (lambda d: d["tests"][1].update(id=d["tests"][0]["id"]), "names two tests"),
    (lambda d: d["tests"][1].update(n=2**40), "more than 8388608"),
    (lambda d: d["tests"][1].update(n=20), "array 't1' is (21,) of uint32; expected (20,)"),
    (lambda d: d["tests"][1].update(d="t9"), "array 't9' is not there"),
    (lambda d: d["tests"][1]["inputs"].update(seed=2), "a has SHA-256"),
    (lambda d: d["tests"][1]["inputs"].update(version=2), "drawn by version 2 of floatemu.matrix.generator"),
    (lambda d: d["tests"][1]["inputs"].update(distribution="poisson"), "distribution 'poisson'"),
    (lambda d: d["tests"][1]["formats"].update(a="posit8"), "codes of 'posit8' are unknown here"),
    (lambda d: d["tests"][0]["labels"].pop(), "labels for"),
    (lambda d: d["tests"][0]["sha256"].update(c="0" * 64), "c has SHA-256"),
])  # fmt: skip
def test_json_that_is_not_right_is_refused(copy, edit, message):
    change(copy, "instructions", edit)
    assert message in refusal(copy)


def test_text_that_is_no_json_is_refused(copy):
    for text in ("{", "[" * 100000, '"a string"'):
        (copy / "casts.json").write_text(text)
        with pytest.raises(CaptureError, match=r"casts\.json"):
            list(read_capture(copy).tests("casts"))


def test_missing_files_are_named(copy, tmp_path):
    (copy / "gemm.npz").unlink()
    assert "gemm.npz: not there" in refusal(copy)
    with pytest.raises(CaptureError, match="no such file"):
        read_capture(tmp_path)
    with pytest.raises(CaptureError, match="'timings' is no section"):
        list(read_capture(copy).tests("timings"))


def test_objects_are_never_unpickled(copy):
    rewrite(copy, "instructions", {"t1": np.array([{}], object)})
    assert "t1.npy has dtype object; accepted are real numbers, never objects" in refusal(copy)


def test_other_dtypes_are_refused(copy):
    rewrite(copy, "casts", {"t0.hashes": np.zeros(2, np.int64)})
    assert "t0.hashes is of int64; accepted are unsigned integers" in refusal(copy)


def test_chunks_beyond_the_source_are_refused(copy):
    rewrite(copy, "casts", {"t0.chunks": np.array([1, 4096], np.uint32)})
    assert "chunk 4096 lies beyond the codes of binary32" in refusal(copy)


def test_an_array_that_claims_more_than_it_has_is_refused_before_it_is_made(copy):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<u4", "fortran_order": False, "shape": (2**40,)})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("t0.npy", header.getvalue() + bytes(16))
    rewrite(copy, "instructions", data=stream.getvalue())
    assert f"claims {2**42} bytes of data (shape ({2**40},), uint32) but holds 16" in refusal(copy)


@pytest.mark.parametrize("data", [b"PK\x03\x04 nothing", b"x" * 1000], ids=["half", "noise"])
def test_files_that_are_no_archives_are_refused(copy, data):
    rewrite(copy, "gemm", data=data)
    assert "not a readable .npz file" in refusal(copy)


def test_an_empty_file_is_refused(copy):
    rewrite(copy, "gemm", data=b"")
    assert "the file is empty" in refusal(copy)


def test_an_archive_that_unpacks_to_too_much_is_refused(copy, monkeypatch):
    monkeypatch.setattr(capture, "MOST_UNPACKED", 1000)
    assert "bytes when unpacked, the limit is 1000" in refusal(copy)


@pytest.mark.parametrize(("part", "index"), [
    ("instructions", 0), ("instructions", 1), ("casts", 0), ("gemm", 0), ("gemm", 2),
])  # fmt: skip
def test_whatever_the_schema_lets_pass_is_read_or_refused(made, part, index):
    """Each value of a test in turn replaced by others of its kind: a result or a CaptureError, nothing else."""
    document = json.loads((made / f"{part}.json").read_text())
    arrays = capture._arrays(made, document["npz"])
    original = document["tests"][index]
    refused = read = 0
    for name, value in original.items():
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else [(None, 0)]
        )
        for key, _ in list(inner)[:4]:
            for other in (
                None,
                1,
                3,
                64,
                10**6,
                2**62,
                "binary64",
                "int8",
                "e4m3fn",
                "t0",
                "t0.a",
                "designed",
                "generated",
            ):
                test = json.loads(json.dumps(original))
                if key is None:
                    test[name] = other
                else:
                    test[name][key] = other
                if next(faults(test, SCHEMA["$defs"][TESTS[part]], SCHEMA), None) is None:
                    try:
                        capture._test(part, test, arrays)
                        read += 1
                    except CaptureError:
                        refused += 1
    assert read > 0
    assert refused > 10
    for gone in [key for value in original.values() if isinstance(value, dict) for key in value]:
        test = {k: {x: y for x, y in v.items() if x != gone} if isinstance(v, dict) else v for k, v in original.items()}
        if next(faults(test, SCHEMA["$defs"][TESTS[part]], SCHEMA), None) is None:
            with contextlib.suppress(CaptureError):
                capture._test(part, test, arrays)


# The schema's reader


@pytest.mark.parametrize("part", ["capture", *capture.PARTS])
def test_reader_of_schemas_agrees_with_jsonschema(made, part):
    """Every value of a document in turn replaced by others: both find fault, or neither does."""
    document = json.loads((made / f"{part}.json").read_text())
    if "tests" in document:
        document["tests"] = document["tests"][:1]
        document["tests"][0]["labels"] = document["tests"][0].get("labels", [])[:2]
    schema = {**SCHEMA["$defs"][document["part"]], "$defs": SCHEMA["$defs"]}
    validator, seen = jsonschema.Draft202012Validator(schema), set()

    def places(node, path=()):
        yield path
        children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in children:
            yield from places(child, (*path, key))

    for path in list(places(document)):
        if not path:
            continue
        for value in (None, 0, -1, 1.5, True, "word", [], {}, {"kind": "stored"}, [1, 2, 3], [1, 2]):
            changed = json.loads(json.dumps(document))
            node = changed
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            ours = not list(faults(changed, schema, SCHEMA))
            assert ours == validator.is_valid(changed), (path, value)
            seen.add(ours)
    assert seen == {True, False}


def test_simulated_devices_cover_what_their_name_says():
    device = Simulated("hopper.mma")
    from capture.table import INSTRUCTIONS

    assert {i.family for i in INSTRUCTIONS if device.covers(i)} == {"mma"}
    assert sum(Simulated("hopper").covers(i) for i in INSTRUCTIONS) == len(INSTRUCTIONS)
