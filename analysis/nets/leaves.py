"""What a net starts from: weights and synthetic data from counted random bits, each made once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array
from ..arithmetics.float64 import Float64
from ..ops import Builder, Var

__all__ = ["INITS", "MAX_PARAMETERS", "Leaves", "bound", "orthogonal", "start", "synthetic", "tokens", "uniform"]

INITS = ("he", "xavier", "lecun", "orthogonal", "small")
MAX_PARAMETERS = 10**7
_DATA = 1 << 20  # streams of synthetic data begin here, those of weights at 1


def uniform(seed: int, stream: int, shape: tuple[int, ...], bound: float) -> Array:
    """Return numbers uniform in [-bound, bound), the same on every machine.

    Parameters
    ----------
    seed, stream : int
        Each pair gives its own sequence.
    shape : tuple of int
    bound : float

    Returns
    -------
    ndarray of float64
        Multiples of 2^-24 * bound, rounded to binary32, as weights are stored.

    Notes
    -----
    The top 25 bits of numpy's raw PCG64 words: raw output is fixed by numpy's compatibility policy, the methods
    of ``Generator`` are not.

    Examples
    --------
    >>> uniform(0, 0, (2,), 1.0).shape
    (2,)
    """
    words = np.random.PCG64([seed, stream]).random_raw(math.prod(shape))
    fraction = (np.asarray(words, dtype=np.uint64) >> np.uint64(39)).astype(np.float64) * 2.0**-24 - 1.0
    numbers: Array = (fraction * bound).astype(np.float32).astype(np.float64)
    return numbers.reshape(shape)


def orthogonal(seed: int, stream: int, n: int) -> Array:
    """Return an orthogonal matrix, the same on every machine: a product of n - 1 Householder reflections.

    Parameters
    ----------
    seed, stream : int
    n : int

    Returns
    -------
    ndarray of float64
        Shape (n, n); orthogonal to a few units of 2^-53.

    Notes
    -----
    Reflection k acts on the last n - k coordinates, along a vector of uniform numbers: Stewart 1980 with uniform
    instead of normal numbers, so that the distribution is not quite Haar's. Sums run in index order.

    Examples
    --------
    >>> import numpy as np
    >>> q = orthogonal(0, 1, 8)
    >>> bool(np.abs(q @ q.T - np.eye(8)).max() < 1e-15)
    True
    """
    result, float64 = np.eye(n), Float64()
    vectors = uniform(seed, stream, (n, n), 1.0)
    for k in range(n - 1):
        v = vectors[k, k:]
        square = float64.sum(v * v, 0, False)
        if square:  # H = I - 2 v v^T / v^T v, from the right
            along = float64.matmul(result[:, k:], v[:, None])
            result[:, k:] -= (along * (2.0 / square)) * v
    return result


def bound(init: str, fan_in: int, fan_out: int) -> float:
    """Return the bound of uniform weights for an initialisation.

    Parameters
    ----------
    init : str
        "he" (He et al. 2015, equation 10, variance 2 / fan in), "xavier" (Glorot and Bengio 2010, equation 16),
        "lecun" (LeCun et al. 1998, equation 16, variance 1 / fan in), "small" (a tenth of Xavier's).
    fan_in, fan_out : int

    Returns
    -------
    float

    Examples
    --------
    >>> bound("he", 6, 100), bound("xavier", 1, 5), bound("lecun", 3, 100)
    (1.0, 1.0, 1.0)
    """
    found = math.sqrt({"he": 6.0 / fan_in, "lecun": 3.0 / fan_in}.get(init, 6.0 / (fan_in + fan_out)))
    return 0.1 * found if init == "small" else found


def start(init: str, seed: int, stream: int, shape: tuple[int, ...]) -> Array:
    """Return the weights that a matrix begins with.

    Parameters
    ----------
    init : str
        One of ``INITS``: as :func:`bound` says, or "orthogonal", the first rows and columns of :func:`orthogonal`
        (Saxe et al. 2014).
    seed, stream : int
    shape : tuple of int
        (fan in, fan out).

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> start("orthogonal", 0, 1, (2, 3)).shape
    (2, 3)
    """
    if init == "orthogonal":
        return orthogonal(seed, stream, max(shape))[: shape[0], : shape[1]]
    return uniform(seed, stream, shape, bound(init, *shape))


class Leaves:
    """The leaves of a net by name: made at their first use, found again in later training steps.

    Parameters
    ----------
    builder : Builder
    seed : int

    Attributes
    ----------
    parameters : dict of str to Var
        Current values: leaves, or what an optimiser made of them.
    derived : dict of str to Var
        What was computed from data alone and is used again, such as rotary angles.

    Examples
    --------
    >>> leaves = Leaves(Builder("t"), 0)
    >>> leaves.drawn("W", (2, 3), 1.0) is leaves.drawn("W", (2, 3), 1.0)
    True
    """

    def __init__(self, builder: Builder, seed: int) -> None:
        self.builder, self.seed = builder, seed
        self.parameters: dict[str, Var] = {}
        self.derived: dict[str, Var] = {}
        self._data: dict[str, Var] = {}
        self._streams = 0

    @contextlib.contextmanager
    def at(self, name: str, step: int | None = None) -> Iterator[str]:
        """Go one module deeper: the path of what is recorded inside gets another part.

        Parameters
        ----------
        name : str
        step : int, optional
            Position in a sequence; default as outside.

        Yields
        ------
        str
            The path.

        Examples
        --------
        >>> leaves = Leaves(Builder("t"), 0)
        >>> with leaves.at("layer0"), leaves.at("attention") as path:
        ...     print(path)
        layer0.attention
        """
        builder = self.builder
        path = f"{builder.path}.{name}" if builder.path else name
        with builder.at(path, step=builder.step if step is None else step):
            yield path

    def parameter(self, name: str, value: Array) -> Var:
        """Return a parameter, recorded at its first use.

        Parameters
        ----------
        name : str
        value : ndarray
            At that first use.

        Returns
        -------
        Var

        Raises
        ------
        UnsupportedError
            If the net has more than ten million weights.

        Examples
        --------
        >>> import numpy as np
        >>> Leaves(Builder("t"), 0).parameter("w", np.array([2.0])).value.tolist()
        [2.0]
        """
        if name not in self.parameters:
            if sum(var.value.size for var in self.parameters.values()) + value.size > MAX_PARAMETERS:
                raise UnsupportedError(f"the net has more than {MAX_PARAMETERS} weights; make it smaller")
            self.parameters[name] = self.builder.leaf("parameter", value)
        return self.parameters[name]

    def drawn(self, name: str, shape: tuple[int, ...], how: float | str) -> Var:
        """Return a parameter that starts at random.

        Parameters
        ----------
        name : str
        shape : tuple of int
        how : float or str
            A bound: uniform in [-bound, bound). Or, for matrices, the name of an initialisation; see :func:`start`.

        Returns
        -------
        Var

        Raises
        ------
        UnsupportedError
            If the net has more than ten million weights.

        Examples
        --------
        >>> leaves = Leaves(Builder("t"), 0)
        >>> leaves.drawn("W", (2, 3), 0.5).shape, list(leaves.parameters)
        ((2, 3), ['W'])
        """
        if name in self.parameters:
            return self.parameters[name]
        if math.prod(shape) > MAX_PARAMETERS:
            raise UnsupportedError(f"{name} of shape {shape} has more than {MAX_PARAMETERS} weights; make it smaller")
        if isinstance(how, str):
            return self.parameter(name, start(how, self.seed, self.stream(), shape))
        return self.parameter(name, uniform(self.seed, self.stream(), shape, how))

    def filled(self, name: str, shape: tuple[int, ...], value: float = 0.0) -> Var:
        """Return a parameter that starts the same everywhere.

        Parameters
        ----------
        name : str
        shape : tuple of int
        value : float

        Returns
        -------
        Var

        Examples
        --------
        >>> Leaves(Builder("t"), 0).filled("b", (2,), 1.0).value.tolist()
        [1.0, 1.0]
        """
        return self.parameter(name, np.full(shape, value))

    def stream(self) -> int:
        """Return the next stream of random bits for weights.

        Returns
        -------
        int

        Examples
        --------
        >>> leaves = Leaves(Builder("t"), 0)
        >>> leaves.stream(), leaves.stream()
        (1, 2)
        """
        self._streams += 1
        return self._streams

    def data(self, name: str, role: str, value: Any) -> Var:
        """Return data that stays the same in every training step.

        Parameters
        ----------
        name : str
            One for each, whatever its path.
        role : str
            "input", "target" or "constant".
        value : array_like

        Returns
        -------
        Var

        Examples
        --------
        >>> Leaves(Builder("t"), 0).data("x", "input", [1.0]).shape
        (1,)
        """
        if name not in self._data:
            self._data[name] = self.builder.leaf(role, value)
        return self._data[name]


def synthetic(seed: int, stream: int, shape: tuple[int, ...], scale: float = 1.0) -> Array:
    """Return synthetic inputs, uniform in [-scale, scale).

    Parameters
    ----------
    seed, stream : int
    shape : tuple of int
    scale : float

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> synthetic(0, 0, (2, 3)).shape
    (2, 3)
    """
    return uniform(seed, _DATA + stream, shape, scale)


def tokens(seed: int, stream: int, shape: tuple[int, ...], count: int) -> Array:
    """Return synthetic tokens or classes, uniform in 0..count - 1.

    Parameters
    ----------
    seed, stream : int
    shape : tuple of int
    count : int

    Returns
    -------
    ndarray of int64

    Examples
    --------
    >>> tokens(0, 0, (2, 3), 2).shape
    (2, 3)
    """
    words = np.asarray(np.random.PCG64([seed, _DATA + stream]).random_raw(math.prod(shape)), dtype=np.uint64)
    chosen: Array = ((words >> np.uint64(32)) % np.uint64(count)).astype(np.int64)
    return chosen.reshape(shape)
