"""What the packages export: exactly `__all__`, documented, and hiding nothing."""

import ast
import builtins
import dataclasses
import enum
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import analysis
import floatemu

PACKAGES = {"floatemu": (floatemu, 84), "analysis": (analysis, 30)}  # 25 of floatemu's are elementary functions
KEPT_OUT = {"round", "sum", "pow"}  # public, but a star import must hide no builtin


def submodules(package):
    return {info.name for info in pkgutil.iter_modules(package.__path__)}


def public_objects():
    for package, _ in PACKAGES.values():
        names = [*getattr(package, "__all__", ()), *sorted(KEPT_OUT & set(dir(package)))]
        for name in names:
            yield pytest.param(getattr(package, name), id=f"{package.__name__}.{name}")


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_complete_and_small(name):
    package, most = PACKAGES[name]
    assert len(package.__all__) == len(set(package.__all__))  # the linter keeps them sorted
    assert len(package.__all__) <= most
    for item in package.__all__:
        assert getattr(package, item) is not None


def test_all_of_floatemu_is_what_its_init_imports():
    tree = ast.parse(Path(floatemu.__file__).read_text())
    later = next(node for node in tree.body if isinstance(node, ast.If))  # under TYPE_CHECKING: loaded when first used
    nodes = [node for node in (*tree.body, *later.body) if isinstance(node, ast.ImportFrom)]
    nodes = [node for node in nodes if str(node.module).split(".")[0] == "floatemu"]
    imported = {a.asname or a.name for node in nodes for a in node.names}
    assert {a.asname or a.name for node in later.body for a in node.names} == {*floatemu._WHERE, *floatemu._PACKAGES}
    assert set(floatemu.__all__) == {name for name in imported if not name.startswith("_")} - KEPT_OUT


@pytest.mark.parametrize("name", PACKAGES)
def test_star_import_hides_no_builtin(name):
    space = {}
    exec(f"from {name} import *", space)
    assert {item for item in space if hasattr(builtins, item)} <= {"__builtins__", "__doc__", "__name__"}


@pytest.mark.parametrize("name", PACKAGES)
def test_no_exported_object_hides_a_submodule(name):
    package, _ = PACKAGES[name]
    for item in submodules(package) & set(package.__all__):
        assert inspect.ismodule(getattr(package, item)), f"{name}.{item} is both an object and a module"


def test_package_docstrings_say_whose_they_are():
    assert floatemu.__doc__.startswith("floatemu")
    assert analysis.__doc__.startswith("Error analysis for floatemu")


def test_version_agrees_with_the_metadata():
    from importlib import metadata

    assert floatemu.__version__ == metadata.version("floatemu")


def parameters(thing):
    target = thing.__init__ if inspect.isclass(thing) and not dataclasses.is_dataclass(thing) else thing
    if target is object.__init__:
        return []
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return []
    return [name for name in signature.parameters if name != "self"]


@pytest.mark.parametrize("thing", list(public_objects()))
def test_public_objects_are_documented_with_an_example(thing):
    if not (inspect.isroutine(thing) or inspect.isclass(thing)):
        return  # data and submodules; submodules' own contents are judged below
    text = inspect.getdoc(thing) or ""
    assert text.split("\n")[0].rstrip().endswith((".", ":")), "one summary line, ending with a full stop"
    if inspect.isclass(thing) and issubclass(thing, (BaseException, enum.Enum)):
        return
    assert ">>>" in text, "an example that runs"
    names = parameters(thing)
    if names and not (inspect.isclass(thing) and "Attributes\n------" in text):
        assert "Parameters\n------" in text
        missing = [name for name in names if name not in text.split("Parameters\n------")[1]]
        assert missing == []
    returns = None if inspect.isclass(thing) else inspect.signature(thing).return_annotation
    if inspect.isroutine(thing) and returns not in (None, "None", inspect.Signature.empty):
        assert "Returns\n------" in text or "Yields\n------" in text


MODULES = [
    importlib.import_module(f"analysis.{name}")
    for name in ("terminal", "numerals", "landmarks", "inspection", "doctor")
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_functions_behind_the_command_line_are_documented(module):
    for name, thing in vars(module).items():
        if inspect.isroutine(thing) and thing.__module__ == module.__name__ and not name.startswith("_"):
            assert inspect.getdoc(thing), name
