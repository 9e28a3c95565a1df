"""What is installed, where it was found, and what is missing (behind ``floatemu doctor``)."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib import machinery, metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import version

if TYPE_CHECKING:
    from rich.console import Console

_BASE = ("numpy", "numba", "llvmlite", "mpmath", "rich", "click")
_SPEED = ("gmpy2",)
_EXTRAS = {
    "torch": ("torch",),
    "hf": ("torch", "transformers"),
    "report": ("matplotlib", "plotly", "pandas", "pyarrow"),
    "flint": ("python-flint",),
    "safetensors": ("safetensors",),
    "dask": ("distributed",),
    "lab": ("loky", "PyYAML"),
    "test": ("pytest", "hypothesis", "jsonschema", "ml_dtypes", "gfloat"),
}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _check(name: str, ok: bool, text: str, hint: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "text": text, "hint": "" if ok else hint}


def _found_by_a_script_here(name: str) -> Path | None:
    """Return where ``import name`` leads from a script in the working directory; scripts see their folder first.

    A folder for a package, a file for a module.
    """
    spec = machinery.PathFinder.find_spec(name, [os.getcwd()])
    if spec is None:
        return None
    if spec.origin is not None:
        file = Path(spec.origin).resolve()
        return file.parent if spec.submodule_search_locations is not None else file
    return Path(next(iter(spec.submodule_search_locations or [os.getcwd()]))).resolve()


def _packages() -> tuple[dict[str, str], list[dict[str, Any]]]:
    ours = Path(__file__).resolve().parent
    spec = util.find_spec("floatemu")
    core = Path(spec.origin).resolve().parent if spec and spec.origin else None
    paths = {"analysis": str(ours), "floatemu": str(core)}
    together = core is not None and core.parent == ours.parent
    checks = [
        _check(
            "packages",
            together,
            f"floatemu {version()} in {core}, analysis in {ours}",
            "floatemu and analysis come from different places; reinstall with `pip install -e .`",
        )
    ]
    here = _found_by_a_script_here("analysis")
    foreign = here is not None and here != ours
    checks.append(
        _check(
            "shadowing",
            not foreign,
            f"`import analysis` from a script in this folder finds {here if foreign else 'floatemu’s own'}",
            f"rename {here}, or move your script: a folder or file named `analysis` beside a script hides floatemu's",
        )
    )
    return paths, checks


def _cache() -> dict[str, Any]:
    """Look for the folder where numba keeps compiled code, by the same rule as numba itself."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    spec = util.find_spec("floatemu")
    beside = Path(spec.origin).parent / "_core" / "__pycache__" if spec and spec.origin else None
    folder = Path(chosen) if chosen else beside
    if folder is None:
        return _check("cache", False, "floatemu was not found", "reinstall with `pip install -e .`")
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        hint = "every process compiles anew; set NUMBA_CACHE_DIR to a folder that you may write to"
        return _check("cache", False, f"{folder} cannot be written to: {error.strerror}", hint)
    source = "NUMBA_CACHE_DIR" if chosen else "beside the package"
    count = sum(1 for _ in folder.glob("**/*.nb[ci]")) if folder.exists() else 0
    return _check("cache", True, f"{folder} ({source}), writable, {count} cached files")


def _cpu() -> dict[str, Any]:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    known = ("avx2", "fma", "f16c", "avx512f", "avx512bf16", "avx512fp16", "neon", "sve", "bf16")
    return {
        "name": binding.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "features": [name for name in known if features.get(name, False)],
    }


def _rounding() -> dict[str, Any]:
    try:
        import floatemu as fe

        got = float(fe.round(0.1, "e4m3fn"))
    except Exception as error:  # whatever is broken, the rest of the report is what helps to mend it
        reason = (str(error).splitlines() or [""])[0]
        hint = "reinstall with `pip install -e .`, in a new virtual environment"
        return _check("rounding", False, f"fe.round fails with {type(error).__name__}: {reason}", hint)
    return _check(
        "rounding",
        got == 0.1015625,
        f"0.1 rounds to {got!r} in e4m3fn",
        "0.1015625 is right; clear the cache and reinstall",
    )


def examine() -> dict[str, Any]:
    """Look at this installation.

    Returns
    -------
    dict
        ``python``, ``platform``, ``paths``, ``versions`` (name -> version or None), ``extras`` (name ->
        what is missing and the command that installs it), ``cpu``, ``checks``, each with ``ok``, and ``notes``.

    Examples
    --------
    >>> all(isinstance(check["ok"], bool) for check in examine()["checks"])
    True
    """
    versions = {name: _version(name) for name in (*_BASE, *_SPEED)}
    paths, checks = _packages()
    for name in _BASE:
        if versions[name] is None:
            checks.append(_check(name, False, "is not installed", "pip install -e ."))
    extras = {}
    for extra, needs in _EXTRAS.items():
        versions.update({name: _version(name) for name in needs})
        missing = [name for name in needs if versions[name] is None]
        extras[extra] = {"missing": missing, "install": f"pip install 'floatemu[{extra}]'" if missing else None}
    checks.append(_cache())
    importable = all(versions[name] is not None for name in _BASE)
    if importable:
        checks.append(_rounding())
    notes = []
    if versions["gmpy2"] is None:
        notes.append("gmpy2 is missing: mpmath references take longer without it; pip install gmpy2")
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "paths": paths,
        "versions": versions,
        "extras": extras,
        "cpu": _cpu() if importable else None,
        "checks": checks,
        "notes": notes,
    }


def print_doctor(result: dict[str, Any], console: Console) -> None:
    """Print what :func:`examine` found.

    Parameters
    ----------
    result : dict
    console : rich.console.Console
    """
    from rich.markup import escape

    console.print(f"Python {result['python']} ({result['executable']}) on {result['platform']}")
    if (cpu := result["cpu"]) is not None:
        console.print(f"CPU {cpu['name']}, {cpu['cores']} cores: {', '.join(cpu['features'])}")
    known = (f"{name} {number}" for name, number in result["versions"].items() if number is not None)
    console.print(", ".join(known))
    console.print()
    for check in result["checks"]:
        mark = "[green]ok  [/green]" if check["ok"] else "[red]FAIL[/red]"
        console.print(f"{mark} {check['name']}: {escape(check['text'])}")
        if check["hint"]:
            console.print(f"     {escape(check['hint'])}")
    for note in result["notes"]:
        console.print(f"note {note}")
    console.print()
    for extra, state in result["extras"].items():
        if state["missing"]:
            console.print(f"extra {extra}: {', '.join(state['missing'])} missing; {escape(state['install'])}")
        else:
            console.print(f"extra {extra}: present")
