"""Data sets: the digits that come with the package, and the user's own tables, checked before use."""

from __future__ import annotations

import csv
import hashlib
import math
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from floatemu.errors import FileError
from floatemu.storage import read_npz

from .tape import Array

__all__ = ["DataError", "digits", "load"]

DIGITS_SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
MAX_VALUES = 10**8
MAX_CLASSES = 10**5


class DataError(FileError):
    """A data set cannot be used: empty, of the wrong shape, with NaN, with labels that are no class numbers."""


def digits() -> tuple[Array, Array]:
    """Return the handwritten digits: 1797 images of 8 x 8 pixels, and what they show.

    The test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine
    Learning Repository, CC BY 4.0).

    Returns
    -------
    X : ndarray of float64, shape (1797, 64)
        Pixel counts divided by 16: multiples of 1/16 in [0, 1].
    y : ndarray of int64, shape (1797,)
        0..9.

    Raises
    ------
    DataError
        If the file in the package is not the one it should be.

    Examples
    --------
    >>> X, y = digits()
    >>> X.shape, y[:5].tolist()
    ((1797, 64), [0, 1, 2, 3, 4])
    """
    with resources.as_file(resources.files("analysis") / "data" / "digits.npz") as path:
        arrays = read_npz(path, limit=10**6)
    x, y = arrays.get("X"), arrays.get("y")
    if x is None or y is None or x.shape != (1797, 64) or y.shape != (1797,) or x.dtype != np.uint8:
        raise DataError("the package's digits.npz is damaged; install floatemu again")
    if hashlib.sha256(np.column_stack([x, y]).astype(np.uint8).tobytes()).hexdigest() != DIGITS_SHA256:
        raise DataError("the package's digits.npz does not have the expected content; install floatemu again")
    return x.astype(np.float64) / 16.0, y.astype(np.int64)


def load(data: Any) -> tuple[str, Array, Array]:
    """Return a data set by name, from a file, or from arrays.

    Parameters
    ----------
    data : str, path or (X, y)
        "digits"; the path of an .npz file with arrays X and y, or of a .csv file whose last column is y (a first
        line in which no cell is a number holds names); or the two arrays.

    Returns
    -------
    name : str
    X : ndarray of float64, shape (rows, features)
    y : ndarray of int64, shape (rows,)

    Raises
    ------
    DataError
        If there is no such file, or X and y do not fit each other, are empty, or hold NaN or infinities.

    Examples
    --------
    >>> load(([[0.5, 1.0]], [1]))[1].shape
    (1, 2)
    >>> load("nothing.csv")
    Traceback (most recent call last):
        ...
    analysis.datasets.DataError: data 'nothing.csv': there is no such file; accepted: 'digits', or a .npz or .csv file
    """
    if isinstance(data, str) and data == "digits":
        return "digits", *digits()
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        if not path.is_file():
            raise DataError(f"data {str(path)!r}: there is no such file; accepted: 'digits', or a .npz or .csv file")
        if path.stat().st_size == 0:
            raise DataError(f"data {str(path)!r}: the file is empty")
        if path.suffix.lower() == ".npz":
            try:
                arrays = read_npz(path)
            except FileError as error:
                raise DataError(f"data {error}; accepted: an .npz file with real arrays X and y") from None
            if missing := [name for name in ("X", "y") if name not in arrays]:
                raise DataError(f"data {path.name!r}: no array named {' and '.join(missing)}; it needs X and y")
            return path.name, *_check(path.name, arrays["X"], arrays["y"])
        if path.suffix.lower() == ".csv":
            table = _csv(path)
            return path.name, *_check(path.name, table[:, :-1], table[:, -1])
        raise DataError(f"data {str(path)!r}: accepted are files ending in .npz or .csv, or 'digits'")
    if isinstance(data, tuple) and len(data) == 2:
        try:
            return "arrays", *_check("arrays", np.asarray(data[0]), np.asarray(data[1]))
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"X and y are not arrays of numbers ({error})") from None
    raise DataError(f"data={type(data).__name__}; accepted: 'digits', a .npz or .csv file, or the arrays (X, y)")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _row(what: str, line: int, row: list[str]) -> list[float]:
    numbers = [_number(cell) for cell in row]
    if None in numbers:
        column = numbers.index(None)
        cell = row[column]
        shown = cell if len(cell) <= 30 else f"{cell[:27]}..."
        other = next(
            (mark for mark in (";", "\t") if all(_number(part) is not None for part in cell.split(mark))), None
        )
        hint = "" if other is None else f"; cells are separated by commas, not by {other!r}"
        raise DataError(f"{what} line {line}, column {column + 1}: {shown!r} is no number{hint}")
    return [number for number in numbers if number is not None]


def _csv(path: Path) -> Array:
    what = f"data {path.name!r}:"
    rows: list[list[float]] = []
    begun = False
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            for row in reader:
                if not row:
                    continue
                names = not begun and len(row) > 1 and all(_number(cell) is None for cell in row)
                begun = True
                if names:
                    continue
                rows.append(_row(what, reader.line_num, row))
                if len(rows[-1]) != len(rows[0]):
                    raise DataError(
                        f"{what} line {reader.line_num} has {len(rows[-1])} cells, the first row has {len(rows[0])}"
                    )
                if len(rows) * len(rows[0]) > MAX_VALUES:
                    raise DataError(f"{what} more than {MAX_VALUES} numbers")
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{what} not a text table ({error})") from None
    if not rows or len(rows[0]) < 2:
        raise DataError(f"{what} needs at least one row of one feature and a label")
    return np.array(rows)


def _check(name: str, x: Array, y: Array) -> tuple[Array, Array]:
    what = f"data {name!r}:"
    if x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub":
        raise DataError(f"{what} X is {x.dtype} and y is {y.dtype}; both must be real numbers")
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{what} X has shape {x.shape} and y {y.shape}; accepted: (rows, features) and (rows,)")
    if x.size == 0:
        raise DataError(f"{what} X has shape {x.shape}: there is nothing in it")
    if x.size > MAX_VALUES:
        raise DataError(f"{what} X has {x.size} numbers, the limit is {MAX_VALUES}")
    for label, array in (("X", x), ("y", y)):
        with np.errstate(all="ignore"):  # numbers of a wider dtype that binary64 cannot hold are told below
            bad = ~np.isfinite(array.astype(np.float64))
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            beyond = " or beyond binary64" if np.isfinite(array[bad]).any() else ""
            count = "1 value is" if bad.sum() == 1 else f"{bad.sum()} values are"
            raise DataError(f"{what} {label}{list(first)} is {array[first]!s}; {count} NaN or infinite{beyond}")
    labels = y.astype(np.float64)
    if (labels != np.floor(labels)).any() or labels.min() < 0 or labels.max() >= MAX_CLASSES:
        worst = labels[(labels != np.floor(labels)) | (labels < 0) | (labels >= MAX_CLASSES)][0]
        raise DataError(f"{what} y holds {float(worst)!r}; accepted: class numbers 0, 1, 2 ... below {MAX_CLASSES}")
    if math.isinf(float(np.abs(x).max())):  # integers beyond binary64
        raise DataError(f"{what} X holds numbers beyond binary64")
    return x.astype(np.float64), labels.astype(np.int64)
