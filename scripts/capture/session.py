"""A whole capture: what device is there, which sections are missing, and the index that says so."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import casts, compiling, gemm, instructions
from .driver import Cuda, Driver, DriverError
from .section import SCHEMA, Clock, Section, finished, write_json
from .vectors import generator

PARTS = ("instructions", "casts", "gemm")


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes
    ----------
    out : Path
    simulate : str or None
        A row of floatemu's table that plays the device.
    vectors : int
        Random vectors of each distribution.
    chunks : int or None
        Chunks of 2^20 inputs that are hashed; None: all.
    budget : float
        Seconds.
    parts : tuple of str
        Sections to make.
    """

    out: Path
    simulate: str | None
    vectors: int
    chunks: int | None
    budget: float
    parts: tuple[str, ...]


@dataclass
class Device:
    """What runs the sections; a missing level is the reason why it is."""

    subject: dict[str, str | None]
    facts: dict[str, str | float | bool | None]
    driver: Driver | str
    library: gemm.Library | str
    torch: Any
    covers: Any = None
    depths: tuple[int, ...] = gemm.DEPTHS


def _subject(kind: str, **known: str | None) -> dict[str, str | None]:
    names = ("device", "sm", "driver", "cuda", "torch", "cpu")
    return {"kind": kind, **dict.fromkeys(names), "cpu": platform.machine(), **known}


def _facts() -> dict[str, str | float | bool | None]:
    import numpy as np

    return {"python": platform.python_version(), "numpy": np.__version__, "system": platform.platform()}


def simulated(unit: str) -> Device:
    """A device that floatemu plays."""
    from .simulated import Simulated, SimulatedLibrary

    driver = Simulated(unit)
    sm = f"{driver.sm // 10}.{driver.sm % 10}"
    subject = _subject("simulated", device=driver.name, sm=sm)
    return Device(subject, _facts(), driver, SimulatedLibrary(driver), None, driver.covers, (256,))


def find_device() -> Device:
    """The GPU of this machine, through its driver and, if it is there, torch.

    Raises
    ------
    DriverError
        If there is no GPU.
    """
    bare = Cuda(())
    facts = _facts()
    subject = _subject("gpu", device=bare.name, sm=f"{bare.sm // 10}.{bare.sm % 10}", cuda=bare.cuda)
    subject["driver"] = _nvidia_smi()
    driver: Driver | str
    try:
        images = compiling.build(bare.sm)
        driver = Cuda([image.cubin for image in images])
        facts |= {f"cubin_{image.source}": f"{image.arch} by {image.by}, sha256 {image.sha256}" for image in images}
    except (compiling.CompileError, DriverError) as error:
        driver = f"no kernels: {error}"
    facts["compiler"] = _compiler()
    torch, library = None, _torch_library(bare.sm)
    if not isinstance(library, str):
        torch = sys.modules["torch"]
        facts |= _torch_facts(torch)
        subject["torch"] = str(torch.__version__)
    return Device(subject, facts, driver, library, torch)


def _torch_library(sm: int) -> gemm.Library | str:
    try:
        import torch

        from .torch_level import TorchLibrary
    except ImportError as error:
        return f"torch could not be imported: {error}"
    if not torch.cuda.is_available():
        return "torch has no CUDA here"
    return TorchLibrary(torch, sm)


def _torch_facts(torch: Any) -> dict[str, str | float | bool | None]:
    facts: dict[str, str | float | bool | None] = {"torch_cuda": torch.version.cuda}
    try:
        import triton

        facts["triton"] = triton.__version__
    except ImportError:
        facts["triton"] = None
    from importlib import metadata

    for wheel in ("nvidia-cublas", "nvidia-cublas-cu13", "nvidia-cublas-cu12"):
        try:
            facts["cublas"] = metadata.version(wheel)
        except metadata.PackageNotFoundError:
            continue
    return facts


def _nvidia_smi() -> str | None:
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def _compiler() -> str | None:
    nvcc = shutil.which("nvcc")
    if not nvcc:
        return None
    lines = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout.splitlines()
    return next((line for line in lines if "release" in line), None)


def _instructions(device: Device, section: Section, clock: Clock, options: Options) -> None:
    assert not isinstance(device.driver, str)
    instructions.capture(device.driver, section, clock, options.vectors, device.covers)


def _casts(device: Device, section: Section, clock: Clock, options: Options) -> None:
    casts.capture(device.driver, section, clock, options.chunks)
    if device.torch is not None:
        from .torch_level import CASTS, DTYPES, TorchCast

        for target in CASTS:
            name = f"x.to(torch.{DTYPES[target]})"
            test = casts.entry(name, "torch", "binary32", target, None, None)
            if not hasattr(device.torch, DTYPES[target]):
                section.skip(test, f"torch {device.torch.__version__} has no {DTYPES[target]}")
                continue
            casts.attempt(section, test, TorchCast(device.torch, target, "cuda"), clock, options.chunks)


def _gemm(device: Device, section: Section, clock: Clock, options: Options) -> None:
    assert not isinstance(device.library, str)
    sm = int(str(device.subject["sm"]).replace(".", ""))
    gemm.capture(device.library, section, clock, sm, device.depths)


_MAKE: dict[str, Callable[[Device, Section, Clock, Options], None]] = {
    "instructions": _instructions, "casts": _casts, "gemm": _gemm,
}  # fmt: skip


def _missing(device: Device, part: str) -> str | None:
    """Why a section cannot be made on this device, or None."""
    level = {"instructions": device.driver, "gemm": device.library}.get(part)
    if part == "casts" and isinstance(device.driver, str) and device.torch is None:
        level = device.driver
    return level if isinstance(level, str) else None


def run(options: Options, say: Callable[[str], None] = print) -> bool:
    """Make what is missing of a capture.

    Parameters
    ----------
    options : Options
    say : callable
        Takes a line for each section.

    Returns
    -------
    bool
        Whether every section that was asked for is there.

    Raises
    ------
    DriverError
        If there is no GPU and none is simulated, or the row to simulate is unknown.
    """
    clock = Clock(options.budget)
    device = simulated(options.simulate) if options.simulate else find_device()
    options.out.mkdir(parents=True, exist_ok=True)
    for part in options.out.glob(".*.part"):  # of a run that was killed while it wrote
        part.unlink()
    states = _earlier(options, device)
    for part in options.parts:
        done = finished(options.out, part) if part in states else None
        if done is not None:
            say(f"{part}: there already, {len(done['tests'])} tests")
            continue
        states[part] = _section(device, part, clock, options)
        _write_index(options.out, device, states)
        say(f"{part}: {states[part]['status']}, {states[part]['seconds']} s; {states[part]['reason'] or 'complete'}")
    return all(states.get(part, {}).get("status") == "done" for part in options.parts)


def _earlier(options: Options, device: Device) -> dict[str, dict[str, Any]]:
    """States of the sections that an earlier run left, if its device was this one."""
    try:
        index = json.loads((options.out / "capture.json").read_text(encoding="utf-8"))
        found = {row["name"]: row for row in index["sections"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if index.get("subject") != device.subject:
        raise DriverError(f"{options.out} holds a capture of {index.get('subject')}; give another folder")
    return {name: row for name, row in found.items() if finished(options.out, name) is not None}


def _section(device: Device, part: str, clock: Clock, options: Options) -> dict[str, Any]:
    reason = _missing(device, part)
    if reason is not None:
        return {"name": part, "status": "missing", "reason": reason, "seconds": None}
    if clock.over:
        return {"name": part, "status": "missing", "reason": Clock.reason, "seconds": None}
    section = Section(part)
    try:
        _MAKE[part](device, section, clock, options)
        section.write(options.out)
    except Exception as error:  # one section's trouble, of whatever kind, must not cost the others
        reason = f"{type(error).__name__}: {error}"[:500]
        return {"name": part, "status": "failed", "reason": reason, "seconds": section.seconds}
    bad = [test for test in section.tests if test["status"] != "done"]
    reason = f"{len(bad)} of {len(section.tests)} tests without results: {bad[0]['reason']}" if bad else None
    return {"name": part, "status": "done", "reason": reason, "seconds": section.seconds}


def _write_index(out: Path, device: Device, states: dict[str, dict[str, Any]]) -> None:
    write_json(out / "capture.json", {
        "schema": SCHEMA, "part": "index", "subject": device.subject, "environment": device.facts,
        "generator": {"name": generator.NAME, "version": generator.VERSION},
        "sections": [states[part] for part in PARTS if part in states],
    })  # fmt: skip
