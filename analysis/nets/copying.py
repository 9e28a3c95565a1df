"""The copy memory task: symbols are shown, then nothing for long, then they are to be repeated."""

from __future__ import annotations

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array
from ..nets.leaves import tokens

__all__ = ["FEATURES", "SYMBOLS", "check_recall", "copy_memory"]

SYMBOLS = 8
FEATURES = SYMBOLS + 2
"""Symbols, the blank, and the cue."""


def check_recall(length: int, recall: object) -> None:
    """Refuse a number of symbols for which a sequence is too short; 0 stands for no copying at all.

    Parameters
    ----------
    length : int
    recall : object

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_recall(10, 5)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: recall=5 in length=10; accepted: an integer, 0..4: the symbols are shown, then \
repeated, with the cue between them
    """
    most = (length - 1) // 2
    if isinstance(recall, bool) or not isinstance(recall, int) or not 0 <= recall <= most:
        raise UnsupportedError(
            f"recall={recall!r} in length={length}; accepted: an integer, 0..{most}: the symbols are shown, then "
            "repeated, with the cue between them"
        )


def copy_memory(seed: int, stream: int, length: int, recall: int, batch: int) -> tuple[Array, Array]:
    """Return sequences to copy: ``recall`` symbols, blanks, the cue, and as many blanks as there were symbols.

    Parameters
    ----------
    seed, stream : int
    length : int
    recall : int
        Number of symbols; the i-th is wanted at the i-th of the last ``recall`` steps, ``length - recall`` steps after
        it was shown.
    batch : int

    Returns
    -------
    inputs : ndarray of float64, shape (length, batch, 10)
        One-hot: eight symbols, the blank, the cue.
    wanted : ndarray of int64, shape (recall * batch,)
        The symbols, all of the first step wanted first.

    Notes
    -----
    Hochreiter and Schmidhuber 1997, section 5, in the form of Arjovsky, Shah and Bengio, Unitary evolution recurrent
    neural networks, 2016, section 5.1; here only the repeated symbols are scored, not the blanks before them.

    Examples
    --------
    >>> inputs, wanted = copy_memory(0, 0, 6, 2, 1)
    >>> inputs[:, 0].argmax(axis=1).tolist(), wanted.tolist()
    ([0, 2, 8, 9, 8, 8], [0, 2])
    """
    shown = tokens(seed, stream, (recall, batch), SYMBOLS)
    text = np.full((length, batch), SYMBOLS)
    text[:recall] = shown
    text[length - recall - 1] = SYMBOLS + 1
    return np.eye(FEATURES)[text], shown.ravel()
