"""Sweeps: one result whatever the executor, nothing lost to a kill, nothing computed twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import lab_cases
import pytest
from lab_cases import Plain, compute

from analysis.experiments import Case, run_case
from analysis.lab.executors import EXECUTORS, open_executor
from analysis.lab.identity import key_of, source_hash
from analysis.lab.store import Store
from analysis.lab.sweeping import LabError, sweep
from floatemu.errors import FileError, UnsupportedError

TESTS = Path(lab_cases.__file__).parent
LIBRARY = {"loky": "loky", "dask": "distributed"}


def without_times(records: Any) -> list[Any]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


TRAINING = Case("mlp", {"sizes": (64, 8, 10)}, policy="e4m3fn", mitigations=("stochastic_updates",), steps=2, batch=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return without_times(sweep([TRAINING], run_case, tmp_path_factory.mktemp("trained")).records)


@pytest.mark.filterwarnings("default")  # of loky's and Dask's own threads and sockets
@pytest.mark.parametrize("name", EXECUTORS[1:])
def test_results_are_the_same_bit_for_bit_in_every_executor(name: str, trained: list[Any], tmp_path: Path) -> None:
    if name in LIBRARY:
        pytest.importorskip(LIBRARY[name], reason=f"needs the extra of {name}")
    cases = [Plain(seed, fails=seed == 3) for seed in range(12)]
    here = sweep(cases, compute, tmp_path / "here")
    with open_executor(name, 2) as executor:
        found = sweep(cases, compute, tmp_path / name, executor)
        real = sweep([TRAINING], run_case, tmp_path / "real", executor)
    assert without_times(real.records) == trained  # floats as JSON keeps them: every bit
    assert trained[0]["status"] == "done"
    assert without_times(found.records) == without_times(here.records)
    assert found.counts == {"done": 11, "failed": 1, "resumed": 0}
    lines = [(tmp_path / folder / "cases" / f"{key_of(cases[5])}.json").read_text() for folder in ("here", name)]
    assert len({json.dumps(without_times([json.loads(line)])) for line in lines}) == 1


@pytest.mark.filterwarnings("default")
def test_a_cluster_that_is_there_is_used_by_its_address(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra of dask")
    cases = [Plain(seed, fails=seed == 3) for seed in range(12)]
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        open_executor("dask", scheduler=cluster.scheduler_address) as executor,
    ):
        found = sweep(cases, compute, tmp_path / "there", executor)
        workers = len(cluster.scheduler_info["workers"])
    assert workers == 2  # it is the user's, and stays as it was
    assert without_times(found.records) == without_times(sweep(cases, compute, tmp_path / "here").records)


def test_an_address_without_a_scheduler_is_an_error() -> None:
    pytest.importorskip("distributed", reason="needs the extra of dask")
    wrong = pytest.raises(UnsupportedError, match="accepted: an address such as")
    with wrong, open_executor("dask", scheduler="nonsense://127.0.0.1:1"):
        pass


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", EXECUTORS[1:])
def test_workers_compute_on_one_thread(name: str, tmp_path: Path) -> None:
    if name in LIBRARY:
        pytest.importorskip(LIBRARY[name], reason=f"needs the extra of {name}")
    with open_executor(name, 2) as executor:
        found = sweep([Plain(0), Plain(1)], lab_cases.threads, tmp_path, executor).records
    for record in found[1:]:  # the first case of a thread may be what loads numba
        assert record["result"]["numba"] == 1
        if name != "threads":  # threads share the environment of their process
            assert set(record["result"]["environment"].values()) == {"1"}


def test_a_failing_case_is_recorded_with_its_traceback_and_stops_nothing(tmp_path: Path) -> None:
    found = sweep([Plain(0, fails=True), Plain(1)], compute, tmp_path)
    assert [record["status"] for record in found.records] == ["failed", "done"]
    error = found.records[0]["error"]
    assert error.startswith("Traceback")
    assert error.rstrip().endswith("ValueError: seed 0 fails <b>by design</b>")
    assert found.records[1]["error"] is None


def test_a_finished_case_is_not_computed_again(tmp_path: Path) -> None:
    cases = [Plain(seed, fails=seed == 1) for seed in range(4)]
    calls: list[int] = []

    def counting(case: Plain) -> dict[str, Any]:
        calls.append(case.seed)
        return compute(case)

    first = sweep(cases[:2], counting, tmp_path)
    both = sweep([*cases, cases[0]], counting, tmp_path)
    assert calls == [0, 1, 2, 3]
    assert both.records[:2] == first.records  # times too: they were read, not computed
    assert both.records[4] == both.records[0]
    assert both.counts == {"done": 4, "failed": 1, "resumed": 3}
    sweep(cases, counting, tmp_path, retry=True)
    assert calls == [0, 1, 2, 3, 1]


def test_the_key_is_that_of_specification_and_source() -> None:
    keys = {key_of(Plain(0)), key_of(Plain(1)), key_of(Plain(0, 0.5)), key_of(Plain(0), "other source")}
    assert len(keys) == 4
    assert key_of(Plain(0)) == key_of(Plain(0), source_hash())


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"key": "x"}', "[" * 10**5, '{"key": "K", "status": "?"}'])
def test_a_damaged_file_is_computed_again(content: str, tmp_path: Path) -> None:
    case, key = Plain(7), key_of(Plain(7))
    whole = sweep([case], compute, tmp_path).records
    path = tmp_path / "cases" / f"{key}.json"
    path.write_text(content.replace("K", key))
    again = sweep([case], compute, tmp_path)
    assert again.resumed == 0
    assert without_times(again.records) == without_times(whole) == without_times([json.loads(path.read_text())])


def test_one_sweep_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="needs file locks: no Windows")
    with Store(tmp_path).locked(), pytest.raises(FileError, match="another sweep"):
        sweep([Plain(0)], compute, tmp_path)
    assert sweep([Plain(0)], compute, tmp_path).counts["done"] == 1


def test_workers_that_die_are_told_from_cases_that_fail(tmp_path: Path) -> None:
    cases = [Plain(0), Plain(1), Plain(2, fails=True), Plain(3)]
    with open_executor("processes", 1) as executor, pytest.raises(LabError, match="run it again"):
        sweep(cases, lab_cases.die, tmp_path, executor)
    rest = sweep(cases, compute, tmp_path)
    assert rest.resumed == 2  # those before the death
    assert rest.counts["done"] == 3


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in what a shell runs in the background
sys.path[:0] = {paths!r}
from lab_cases import Plain, compute
from analysis.lab.executors import open_executor
from analysis.lab.sweeping import sweep

if __name__ == "__main__":
    cases = [Plain(seed, 0.03, fails=seed == 5) for seed in range(90)]
    with open_executor("processes", 2) as executor:
        print(sweep(cases, compute, sys.argv[1], executor).counts, flush=True)
"""


def alive(marker: str) -> list[int]:
    """Processes whose environment carries the marker: workers that outlived the sweep."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_sweep_killed_ten_times_at_random_loses_no_finished_case(tmp_path: Path) -> None:
    program, folder, chance = tmp_path / "program.py", tmp_path / "sweep", random.Random(7)
    paths = [str(TESTS), str(TESTS.parent)]
    program.write_text(textwrap.dedent(PROGRAM.format(paths=paths)))
    marker = f"SWEEP_UNDER_TEST={tmp_path}"
    environment = {**os.environ, **dict([marker.split("=", 1)])}
    command = [sys.executable, str(program), str(folder)]
    kept: dict[str, tuple[bytes, int]] = {}
    killed = 0
    while killed < 10:
        before = len(kept)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and len(list(folder.glob("cases/*.json"))) == before:
            time.sleep(0.01)  # loading takes a second; the moment is drawn from when cases come in
        time.sleep(chance.random() * 0.2)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
        now = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("cases/*.json")}
        assert all(json.loads(content)["status"] in ("done", "failed") for content, _ in now.values())
        assert kept.items() <= now.items()  # nothing lost, nothing written a second time
        kept = now
    assert killed == 10, "the sweep was over before it had been killed ten times"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"'resumed': {len(kept)}" in done.stdout
    cases = [Plain(seed, 0.03, fails=seed == 5) for seed in range(90)]
    ended = sweep(cases, compute, folder)
    assert ended.resumed == 90
    assert not list(folder.rglob("*.part"))
    whole = sweep([Plain(seed, 0.0, fails=seed == 5) for seed in range(90)], compute, tmp_path / "whole")
    assert [r["result"] for r in ended.records] == [r["result"] for r in whole.records]
    deadline = time.monotonic() + 10
    while sys.platform == "linux" and alive(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(marker) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc: Linux")
def test_workers_of_loky_start_without_noise_and_end_with_their_parent(tmp_path: Path) -> None:
    pytest.importorskip("loky", reason="needs the extra of loky")
    program, folder = tmp_path / "program.py", tmp_path / "sweep"
    paths = [str(TESTS), str(TESTS.parent)]
    program.write_text(textwrap.dedent(PROGRAM.format(paths=paths)).replace('"processes"', '"loky"'))
    marker = f"SWEEP_UNDER_TEST={tmp_path}"
    environment = {**os.environ, **dict([marker.split("=", 1)])}
    with open(tmp_path / "said", "wb") as said:
        process = subprocess.Popen([sys.executable, str(program), str(folder)], env=environment, stderr=said)
        while process.poll() is None and not list(folder.glob("cases/*.json")):
            time.sleep(0.01)
        workers = set(alive(marker)) - {process.pid}
        process.kill()
        process.wait()
    assert workers
    assert (tmp_path / "said").read_text() == ""
    deadline = time.monotonic() + 5  # idle, they would stay for ten seconds
    while alive(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(marker) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of process groups: no Windows")
def test_ctrl_c_calls_a_sweep_off_without_noise(tmp_path: Path) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "sweep"
    program.write_text(textwrap.dedent(PROGRAM.format(paths=[str(TESTS), str(TESTS.parent)])))
    command = [sys.executable, str(program), str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not list(folder.glob("cases/*.json")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count("Traceback") <= 1  # the program's own, which does not catch it
    kept = len(list(folder.glob("cases/*.json")))
    assert 0 < kept < 90
    assert sweep([Plain(seed, 0.03, fails=seed == 5) for seed in range(90)], compute, folder).resumed == kept
