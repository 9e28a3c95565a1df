"""Files of an analysis: the suffix decides, and every kind holds the manifest of the run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from floatemu.errors import FileError, UnsupportedError

from ..comparison import NodeReport, to_json
from .manifest import Found, manifest

__all__ = ["SUFFIXES", "manifest_path", "save", "save_trace", "to_dataframe"]


def save(found: Found, path: str | Path) -> None:
    """Write an analysis to a file.

    Parameters
    ----------
    found : Analysis
    path : path-like
        With one of ``SUFFIXES``; see :meth:`analysis.results.Analysis.save`.

    Raises
    ------
    UnsupportedError
        If the suffix is another, or a library of the extra ``report`` is missing.
    FileError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), "bf16", "float64")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(found, Path(folder) / "chain.csv")
    ...     sorted(file.name for file in Path(folder).iterdir())
    ['chain.csv', 'chain.csv.manifest.json']
    """
    file = Path(path)
    write = SUFFIXES.get(file.suffix.lower())
    if write is None:
        raise UnsupportedError(f"{file.name}: accepted suffixes are {', '.join(SUFFIXES)}")
    try:
        write(found, file)
    except OSError as error:
        raise FileError(f"{file}: cannot be written ({error.strerror or error})") from None


def manifest_path(file: Path) -> Path:
    """Return where the manifest of a file lies that has no place for one inside."""
    return file.with_name(f"{file.name}.manifest.json")


def _rows(found: Found) -> list[dict[str, Any]]:
    return [_row(found, node) for node in found.nodes]


def _row(found: Found, node: NodeReport) -> dict[str, Any]:
    """A node as columns: shares beside counts, and of each histogram its first binade and the counts from there."""
    row, spread = to_json(node), found.histogram(node.id)
    row |= {f"{name}_fraction": share for name, share in row.pop("fractions").items()}
    for name, one in zip(("histogram", "exact_histogram"), spread or (None, None)):
        row |= {f"{name}_low": None if one is None else one.low, name: None if one is None else one.counts}
    return row


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _json(found: Found, file: Path) -> None:
    _write_json(file, found.to_json())


def _csv(found: Found, file: Path) -> None:
    rows = _rows(found)
    with open(file, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _write_json(manifest_path(file), manifest(found))


def _parquet(found: Found, file: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError:
        raise UnsupportedError("Parquet files need pyarrow: pip install 'floatemu[report]'") from None
    rows = _rows(found)
    columns = {name: pa.array([row[name] for row in rows], _arrow_type(pa, name, rows)) for name in rows[0]}
    table = pa.table(columns).replace_schema_metadata({"floatemu": json.dumps(manifest(found), allow_nan=False)})
    parquet.write_table(table, file)


def _arrow_type(pa: Any, name: str, rows: list[dict[str, Any]]) -> Any:
    """Type of a column: a number that no node has is still a number."""
    given = next((row[name] for row in rows if row[name] is not None), 0.0)
    if isinstance(given, tuple):
        return pa.list_(pa.int64())
    if isinstance(given, str):
        return pa.string()
    return pa.int64() if isinstance(given, int) else pa.float64()


def _figure(found: Found, file: Path) -> None:
    from .plots import plot_summary

    plot_summary([found.to_json()], file)


def _html(found: Found, file: Path) -> None:
    from .html import save_html

    save_html([found], file)


SUFFIXES: Mapping[str, Callable[[Found, Path], None]] = {
    ".html": _html,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".png": _figure,
    ".svg": _figure,
}
"""What writes each kind of file."""


def to_dataframe(found: Found) -> Any:
    """Return the nodes as a pandas DataFrame, one row each, with the manifest in ``attrs``.

    Parameters
    ----------
    found : Analysis

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    UnsupportedError
        Without pandas; the message names the extra.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UnsupportedError("to_dataframe needs pandas: pip install 'floatemu[report]'") from None
    frame = pd.DataFrame(_rows(found))
    frame.attrs["manifest"] = manifest(found)
    return frame


def save_trace(
    folder: Path, found: Sequence[Found], result: Mapping[str, Any], files: list[str], notes: list[str]
) -> None:
    """Write what ``floatemu trace --out`` promises.

    Parameters
    ----------
    folder : Path
        Created where it does not exist.
    found : sequence of Analysis
        Of one tape, one for each policy.
    result : mapping
        The trace object; ``files`` and ``notes`` are its own lists.
    files : list of str
        Gets the name of each file.
    notes : list of str
        Gets a line for each kind that a missing library leaves out.

    Raises
    ------
    FileError
        If a file or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be created ({error.strerror or error})") from None
    try:
        for one in found:
            name = f"nodes-{one.policy.name.replace('/', '-').replace(':', '-')}.csv"
            _csv(one, folder / name)
            files += [name, manifest_path(folder / name).name]
        for write in (_trace_html, _trace_figures):
            try:
                files += write(found, result, folder)
            except UnsupportedError as error:
                notes.append(str(error))
        files.append("trace.json")
        _write_json(folder / "trace.json", result)
    except OSError as error:
        raise FileError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from None


def _trace_html(found: Sequence[Found], result: Mapping[str, Any], folder: Path) -> list[str]:
    from .html import save_html

    save_html(found, folder / "report.html")
    return ["report.html"]


def _trace_figures(found: Sequence[Found], result: Mapping[str, Any], folder: Path) -> list[str]:
    from .plots import plot_errors, plot_ranges

    plot_errors(result["runs"], folder / "errors.png")
    plot_ranges(result["runs"], folder / "ranges.png")
    return ["errors.png", "ranges.png"]
