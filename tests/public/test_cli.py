"""The command line: one JSON object that fits its schema, one clear line for bad input, exit codes 0, 1, 2."""

import json
import math
import os
import subprocess
import sys
from importlib import resources

import jsonschema
import pytest

from analysis.cli import app, main
from analysis.cli.commands import ORDER
from analysis.terminal import BadInput, plain, version

SCHEMAS = {
    path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8"))
    for path in resources.files("analysis").joinpath("schemas").iterdir()
    if path.name.endswith(".json")
}
QUICK = {
    "formats": ["formats"],
    "formats NAME": ["formats", "binary8p3ue"],
    "formats NAMES": ["formats", "e4m3fn", "half"],
    "inspect": ["inspect", "0.1", "--format", "e4m3fn", "--format", "e8m0fnu"],
    "inspect negative": ["inspect", "-1/3", "--format", "e2m1fn", "--random-bits", "3"],
    "inspect code": ["inspect", "0xfe", "--format", "e4m3fnuz"],
    "inspect nan": ["inspect", "nan", "--format", "e2m1fn"],
    "inspect huge": ["inspect", "2^30000", "--format", "binary64p49se", "--format", "bf16"],
    "inspect many digits": ["inspect", "1e-25000", "--format", "e5m2"],
    "doctor": ["doctor"],
    "diff": ["diff", "--a", "onnx", "--b", "ocp_saturating", "--source", "bfloat16", "--examples", "1"],
    "diff list": ["diff", "--list"],
    "demo": ["demo", "--quick"],
    "demo of other numbers": ["demo", "--quick", "--start", "-1000", "--multiplier", "0.3", "--format", "fp8_e5m2"],
    "demo of no number": [
        "demo",
        "--quick",
        "--start",
        "nan",
        "--steps",
        "2",
        "--format",
        "bf16",
        "--format",
        "e2m1fn",
    ],
    "demo of a huge number": ["demo", "--quick", "--start", "1e308", "--multiplier", "1e10", "--steps", "3"],
    "demo of zero": ["demo", "--quick", "--start", "0", "--steps", "1", "--format", "e8m0fnu"],
    "trace": ["trace", "--net", "chain", "--format", "bf16", "--format", "e4m3fn"],
    "trace of another net": ["trace", "--net", "lstm", "--arg", "length=3", "--arg", "hidden=4", "--format", "bf16"],
    "trace of a training step": [
        "trace",
        "--net",
        "rnn",
        "--arg",
        "length=2",
        "--arg",
        "optimizer=adam",
        "--format",
        "bf16",
    ],
    "trace against float64": ["trace", "--net", "mlp", "--format", "e5m2", "--reference", "float64"],
}
BAD = {
    "no such command": ["frobnicate"],
    "no such option": ["formats", "--frobnicate"],
    "missing argument": ["inspect"],
    "missing value": ["inspect", "0.1", "--format"],
    "extra argument": ["inspect", "0.1", "0.2", "--format", "bf16"],
    "unknown format": ["inspect", "0.1", "--format", "e4m9"],
    "unknown format of formats": ["formats", "e4m9"],
    "no number": ["inspect", "0.1.2", "--format", "bf16"],
    "division by zero": ["inspect", "1/0", "--format", "bf16"],
    "absurd exponent": ["inspect", "1e99999999999", "--format", "bf16"],
    "absurd hexadecimal exponent": ["inspect", "0x1p99999999999", "--format", "bf16"],
    "endless digits": ["inspect", "1" * 5000, "--format", "bf16"],
    "code without format": ["inspect", "0x7e"],
    "code too wide": ["inspect", "0x100", "--format", "e4m3fn"],
    "too many random bits": ["inspect", "0.1", "--random-bits", "33"],
    "steps not a number": ["demo", "--steps", "ten"],
    "steps below one": ["demo", "--steps", "0"],
    "start not a number": ["demo", "--start", "large"],
    "start beyond binary64": ["demo", "--start", "1e999"],
    "demo unknown format": ["demo", "--quick", "--format", "e4m9"],
    "negative seed": ["demo", "--seed", "-1"],
    "trace without format": ["trace"],
    "trace unknown format": ["trace", "--format", "e4m9"],
    "trace unknown net": ["trace", "--format", "bf16", "--net", "no-such-net"],
    "trace unknown policy": ["trace", "--policy", "no-such-policy"],
    "trace unknown reference": ["trace", "--format", "bf16", "--reference", "guess"],
    "trace unknown target": ["trace", "--net", "chain", "--format", "bf16", "--target", "no-such-target"],
    "trace missing data": ["trace", "--format", "bf16", "--data", "no/such/file.npz"],
    "option instead of a folder": ["trace", "--net", "chain", "--format", "bf16", "--out", "--min-bits", "1"],
    "option instead of a value": ["inspect", "0.1", "--format", "--random-bits", "3"],
    "exponent too small": ["inspect", "1e-90000", "--format", "bf16"],
    "start below binary64": ["demo", "--start", "1e-400"],
    "demo in a format beyond binary64": ["demo", "--quick", "--format", "binary16p3se"],
    "trace in a format beyond binary64": ["trace", "--net", "chain", "--format", "binary16p3se"],
    "bits that are no number": ["trace", "--net", "chain", "--format", "bf16", "--min-bits", "nan"],
    "data for the chain": ["trace", "--net", "chain", "--format", "bf16", "--data", "nofile.csv"],
    "seed for the chain": ["trace", "--net", "chain", "--format", "bf16", "--seed", "0"],
    "data for a net without": ["trace", "--net", "llama", "--format", "bf16", "--data", "nofile.csv"],
    "unknown argument of a net": ["trace", "--net", "lstm", "--format", "bf16", "--arg", "depth=3"],
    "argument without its value": ["trace", "--net", "lstm", "--format", "bf16", "--arg", "length"],
    "argument of another kind": ["trace", "--net", "lstm", "--format", "bf16", "--arg", "length=long"],
    "argument out of range": ["trace", "--net", "lstm", "--format", "bf16", "--arg", "length=0"],
    "lab report of nothing": ["lab", "report"],
    "lab report of no folder": ["lab", "report", "no/such/folder"],
    "lab of an unknown action": ["lab", "reprot", "folder"],
    "lab report with seeds": ["lab", "report", "folder", "--seeds", "5"],
    "lab without a specification": ["lab", "--spec", "no/such.yaml"],
    "lab with two ways to say seeds": ["lab", "--spec", "my.yaml", "--seeds", "5"],
    "lab in no such executor": ["lab", "--executor", "gpu"],
    "lab with a scheduler of none": ["lab", "--scheduler", "tcp://127.0.0.1:1"],
    "lab unwritable out": ["lab", "--out", "/dev/null/folder"],
    "advise without a tape": ["advise", "--format", "bf16"],
    "advise of no tape": ["advise", "no/such.npz", "--format", "bf16"],
    "advise without arithmetic": ["advise", "no/such.npz"],
    "advise in two arithmetics": ["advise", "no/such.npz", "--format", "bf16", "--policy", "torch_amp"],
    "trace unwritable out": ["trace", "--format", "bf16", "--out", "/dev/null/folder"],
}


@pytest.fixture
def run(capsys):
    def call(*words):
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def one_object(text):
    """Parse the text as exactly one JSON object, strictly: NaN and Infinity are no JSON."""
    found, end = json.JSONDecoder(parse_constant=lambda word: pytest.fail(f"{word} in JSON")).raw_decode(text)
    assert text[end:].strip() == ""
    return found


def validate(found, name):
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(found)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_command_has_a_schema_and_takes_json():
    assert set(SCHEMAS) == {*app.commands, "error"}
    for command in app.commands.values():
        assert "--json" in [name for item in command.params for name in item.opts]


@pytest.mark.parametrize("words", QUICK.values(), ids=QUICK)
def test_json_fits_its_schema(run, words):
    code, out, _ = run(*words, "--json")
    found = one_object(out)
    assert code == 0
    assert (found["command"], found["ok"], found["floatemu"]) == (words[0], True, version())
    assert found["schema"] == f"floatemu.{words[0]}/1"
    validate(found, words[0])


@pytest.mark.parametrize("words", QUICK.values(), ids=QUICK)
def test_page_is_text_without_json(run, words):
    code, out, _ = run(*words)
    assert code == 0
    assert len(out.splitlines()) > 3
    assert "{" not in out


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line_and_exit_code_2(run, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1
    assert lines[0].startswith("floatemu: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_bad_input_is_one_error_object_with_json(run, words):
    code, out, _ = run(*words, "--json") if words[-1] != "--format" else run(words[0], "--json", *words[1:])
    found = one_object(out)
    assert code == 2
    validate(found, "error")
    assert found["error"]["message"]
    assert found["error"]["hint"]
    assert found["command"] == (words[0] if words[0] in app.commands else None)


@pytest.mark.parametrize(
    ("words", "given", "accepted"),
    [
        (["inspect", "1/0"], "1/0", "a decimal"),
        (["inspect"], None, "a decimal"),
        (["formats", "e4m9"], "e4m9", "binary16"),
        (["demo", "--steps", "1.5"], "1.5", "an integer, 1..10000"),
        (["demo", "--steps", "0"], "0", "an integer, 1..10000"),
        (["demo", "--seed", "-1"], "-1", "0..2^64 - 1"),
        (["demo", "--start", "1e-400"], "1e-400", "a number of binary64's range"),
        (["demo", "--format", "binary16p3se"], "binary16p3se", "formats within binary64's range"),
        (["frobnicate"], "frobnicate", "doctor"),
        (["formats", "e5m2", "b"], "b", "binary16"),
        (["trace", "--net", "unet"], "unet", "chain"),
        (["trace", "--policy", "no-such"], "no-such", "torch_amp"),
        (["trace", "--format", "bf16", "--data", "no.csv"], "no.csv", "a .npz or .csv file"),
        (["trace", "--net", "chain", "--format", "bf16", "--target", "x"], "x", "result"),
        (["inspect", "0.1", "--format"], "--json", "--format NAME"),
        (["trace", "--net", "lstm", "--format", "bf16", "--arg", "depth=3"], {"depth": "3"}, "length, hidden"),
        (["trace", "--net", "lstm", "--format", "bf16", "--arg", "length"], "length", "NAME=VALUE"),
    ],
)
def test_error_names_what_was_given_and_what_is_accepted(run, words, given, accepted):
    error = one_object(run(*words, "--json")[1])["error"]
    assert error["given"] == given
    assert accepted in str(error["accepted"])
    assert error["hint"]


def test_every_file_of_a_subcommand_is_listed_and_named_after_it():
    folder = resources.files("analysis.cli.commands")
    files = {path.name.removesuffix(".py") for path in folder.iterdir() if path.name.endswith(".py")}
    assert files - {"__init__"} == set(ORDER)
    assert tuple(app.commands) == ORDER


def test_the_nets_of_the_command_line_are_those_of_the_package(run):
    from analysis import nets
    from analysis.cli.commands import trace
    from analysis.nets.catalogue import takes

    assert trace.NETS == tuple(nets.NETS)
    assert trace.ON_DATA == tuple(name for name in nets.NETS if takes(name, "data"))
    found = one_object(
        run("trace", "--net", "gru", "--arg", "length=2", "--seed", "3", "--format", "bf16", "--json")[1]
    )
    assert (found["net"]["name"], found["net"]["args"]["length"], found["seed"]) == ("gru", 2, 3)


@pytest.mark.parametrize(("text", "instead"), [("1e-90000", "write 0"), ("1e90000", "write inf")])
def test_exponents_out_of_reach_come_with_the_number_to_write(run, text, instead):
    assert instead in run("inspect", text)[2]


def test_too_few_bits_are_said_in_one_line(run):
    code, out, err = run("trace", "--net", "chain", "--format", "bf16", "--format", "fp32", "--min-bits", "20")
    assert (code, err) == (1, "floatemu: check failed: result keeps 9.3 bits in bfloat16, below 20\n")
    assert out
    code, out, err = run("trace", "--net", "chain", "--format", "e4m3fn", "--min-bits", "20", "--json")
    assert one_object(out)["failures"] == ["result keeps no bit in e4m3fn, below 20"]
    assert one_object(out)["failures"][0] in err


def test_no_traceback_and_no_second_stream_from_the_installed_program():
    program = [sys.executable, "-c", "import sys; from analysis.cli import main; sys.exit(main())"]
    done = subprocess.run([*program, "formats", "nope", "--json"], capture_output=True, text=True, input="")
    assert (done.returncode, done.stderr) == (2, "")
    validate(one_object(done.stdout), "error")
    done = subprocess.run([*program, "inspect", "e", "--format", "bf16"], capture_output=True, text=True, input="")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_reader_that_leaves_is_no_error():
    done = shell("set -o pipefail; ", "formats --json", " | head -1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def shell(before, words, after, **environment):
    program = f"{sys.executable} -c 'import sys; from analysis.cli import main; sys.exit(main())' {words}"
    return subprocess.run(
        ["bash", "-c", f"{before}{program}{after}"],
        capture_output=True,
        text=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("words", ["formats", "formats --json", "--help", "inspect 0.1", "doctor"])
def test_a_reader_that_left_before_the_first_word_is_no_error(words):
    done = shell("set -o pipefail; (sleep 0.1; ", words, ") | true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("words", ["formats", "formats --json", "formats nope --json", "--help", "--version"])
@pytest.mark.parametrize(("where", "said"), [(" >/dev/full", "cannot be written to"), (" >&-", "is closed")])
def test_output_that_cannot_be_written_is_one_line(words, where, said):
    done = shell("", words, where)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith("floatemu: standard output ")
    assert said in done.stderr


def test_closed_error_output_changes_nothing_else():
    assert shell("", "formats nope", " 2>&-").returncode == 2
    assert shell("", "formats E4M3", " 2>/dev/full").returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize(
    "words", ["inspect 0.1 --format e4m3fn", "formats", "demo --quick --format e5m2 --steps 2", "inspect $'\\xff'"]
)
def test_every_encoding_gets_a_page(words, encoding):
    done = shell("", words, "", PYTHONIOENCODING=encoding)
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if "xff" in words else 0)
    assert (done.stdout or done.stderr).isascii() or encoding != "ascii"


def test_json_keeps_every_sign_in_every_encoding():
    ascii_, utf = (
        one_object(shell("", "formats --json", "", PYTHONIOENCODING=name).stdout) for name in ("ascii", "utf-8")
    )
    assert ascii_ == utf
    text = shell("", "inspect 1e-90000 --json", "", PYTHONIOENCODING="ascii").stdout
    assert "±25000" in one_object(text)["error"]["message"]


def test_help_lists_every_command_with_a_whole_sentence(run):
    code, out, _ = run("--help")
    assert code == 0
    for name in app.commands:
        line = next(line for line in out.splitlines() if line.strip().startswith(name))
        assert line.endswith(".")
        assert not line.endswith("...")


def test_no_command_prints_the_help(run):
    assert run() == run("--help")


def test_version(run):
    assert run("--version")[1].strip() == f"floatemu, version {version()}"


@pytest.mark.parametrize("words", [["formats", "E4M3"], ["inspect", "1", "--format", "float8_e4m3"]])
def test_e4m3_is_said_to_be_the_ieee_style_one(run, words):
    _, _, err = run(*words)
    assert "240" in err
    assert "'e4m3fn'" in err


@pytest.mark.parametrize("words", [["formats", "e4m3fn"], ["inspect", "1", "--format", "ocp_e4m3"]])
def test_e4m3fn_needs_no_note(run, words):
    assert run(*words)[2] == ""


def test_what_libraries_print_stays_out_of_the_json(run, monkeypatch):
    from analysis import doctor

    real = doctor.examine
    monkeypatch.setattr(doctor, "examine", lambda: (print("chatter"), real())[1])
    _, out, err = run("doctor", "--json")
    one_object(out)
    assert "chatter" in err


def test_a_failed_check_exits_with_1(run, monkeypatch):
    from analysis import doctor

    failed = {"name": "cache", "ok": False, "text": "cannot be written to", "hint": "set NUMBA_CACHE_DIR"}
    real = doctor.examine()
    monkeypatch.setattr(doctor, "examine", lambda: {**real, "checks": [failed]})
    assert one_object(run("doctor", "--json")[1])["ok"] is False
    code, out, _ = run("doctor")
    assert code == 1
    assert "FAIL" in out


def test_plain_refuses_what_json_cannot_hold():
    assert plain([math.inf, -math.inf, math.nan, 0.1]) == ["inf", "-inf", "nan", 0.1]
    with pytest.raises(TypeError, match="no place"):
        plain(object())


@pytest.mark.parametrize(("least", "code"), [("1", 0), ("40", 1)])
def test_trace_fails_when_too_few_bits_are_right(run, least, code):
    found = run("trace", "--net", "chain", "--format", "float32", "--min-bits", least, "--json")
    assert found[0] == 0, "float32 multiplies by 1/4 exactly"
    found = run("trace", "--net", "mlp", "--format", "bf16", "--reference", "float64", "--min-bits", least, "--json")
    assert found[0] == code
    assert one_object(found[1])["ok"] is (code == 0)


def test_trace_writes_the_files_that_it_names(run, tmp_path):
    out = tmp_path / "deep" / "folder"
    code, text, _ = run("trace", "--net", "chain", "--format", "bf16", "--out", str(out), "--json")
    files = one_object(text)["files"]
    assert code == 0
    assert files
    assert {path.suffix for path in out.iterdir()} >= {".csv", ".json"}
    assert sorted(files) == sorted(path.name for path in out.iterdir())


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "1,2\n3,nan\n", "1\n2\n", "\x00\xff"], ids=["empty", "words", "nan", "one column", "binary"]
)
def test_unusable_data_is_one_clear_line(run, tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_text(text)
    for name in (path, path.rename(tmp_path / "data.npz")):
        code, out, err = run("trace", "--format", "bf16", "--data", str(name))
        assert (code, out, len(err.splitlines())) == (2, "", 1), err


def test_demo_agrees_with_what_is_known_of_the_chain(run):
    """1e5 * 0.25^10 is exactly 0.095367431640625; float16's infinity comes from the cast, before any product."""
    found = one_object(run("demo", "--quick", "--json")[1])
    results = {(item["format"], item["saturation"]): item for item in found["runs"]}
    assert len(results) == len(found["runs"]) == 7
    exact = {name for (name, _), item in results.items() if item["result"] == 0.095367431640625}
    assert {"binary64", "binary32"} <= exact
    half = results["binary16", "SAT_NONE"]
    assert (half["result"], half["first_loss"]) == ("inf", {"step": 0, "cause": "overflow"})
    assert half["rounded_multiplications"] == 0


def test_floats_are_in_shortest_round_trip_form(run):
    out = run("inspect", "0.1", "--format", "binary64", "--json")[1]
    assert '"value": 0.1,' in out


def test_bad_input_holds_its_four_parts():
    error = BadInput("m", given=1, accepted="2", hint="h")
    assert error.as_dict() == {"message": "m", "given": 1, "accepted": "2", "hint": "h"}
