"""CUDA's driver through ctypes: load machine code, run a kernel on arrays. Needs neither a toolkit nor torch."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Output(NamedTuple):
    """Room for an array that a kernel writes, zero at first."""

    shape: tuple[int, ...]
    dtype: Any


Argument = Array | Output | int
"""An array to read, an array to write, or a 32-bit unsigned number."""


class Driver(Protocol):
    """What runs kernels: a GPU, or a simulation of one."""

    name: str
    sm: int

    def run(self, kernel: str, grid: int, block: int, arguments: Sequence[Argument]) -> list[Array]:
        """Run a kernel and return its outputs."""


class DriverError(RuntimeError):
    """A call of the driver failed."""


class Cuda:
    """The first GPU, through the driver's own interface.

    Parameters
    ----------
    images : sequence of bytes
        Machine code (cubin) to load.
    library : ctypes library, optional
        The driver; by default it is found by its name.
    """

    def __init__(self, images: Sequence[bytes], library: Any = None) -> None:
        self._cuda = library or _library()
        self._call("cuInit", ctypes.c_uint(0))
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, ctypes.c_int(256), device)
        self.name = text.value.decode()
        self.sm = 10 * self._attribute(device, 75) + self._attribute(device, 76)  # compute capability
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        self.cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
        context = ctypes.c_void_p()
        # The primary context is the one that torch uses.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._modules = [self._load(image) for image in images]

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text))
            raise DriverError(f"{name} failed with {status}: {(text.value or b'unknown').decode()}")

    def _attribute(self, device: ctypes.c_int, attribute: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
        return value.value

    def _load(self, image: bytes) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(image))
        return module

    def _function(self, kernel: str) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        for module in self._modules:
            if not self._cuda.cuModuleGetFunction(ctypes.byref(function), module, ctypes.c_char_p(kernel.encode())):
                return function
        raise DriverError(f"no loaded module has a kernel {kernel}")

    def run(self, kernel: str, grid: int, block: int, arguments: Sequence[Argument]) -> list[Array]:
        """Run a kernel on copies of the arrays.

        Parameters
        ----------
        kernel : str
        grid, block : int
            Blocks, and threads in each.
        arguments : sequence
            Arrays to read, :class:`Output` for arrays to write, integers for 32-bit unsigned parameters.

        Returns
        -------
        list of ndarray
            The outputs, in order.

        Raises
        ------
        DriverError
            If any call of the driver fails.
        """
        function = self._function(kernel)
        held: list[ctypes.c_uint64] = []
        values: list[Any] = []
        results: list[tuple[ctypes.c_uint64, Array]] = []
        try:
            for argument in arguments:
                if isinstance(argument, int):
                    values.append(ctypes.c_uint32(argument))
                    continue
                if isinstance(argument, Output):
                    host = np.zeros(argument.shape, argument.dtype)
                else:
                    host = np.ascontiguousarray(argument)
                where = self._upload(host)
                held.append(where)
                values.append(where)
                if isinstance(argument, Output):
                    results.append((where, host))
            pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
            one, none = ctypes.c_uint(1), ctypes.c_uint(0)
            sizes = (ctypes.c_uint(grid), one, one, ctypes.c_uint(block), one, one, none)
            self._call("cuLaunchKernel", function, *sizes, ctypes.c_void_p(), pointers, ctypes.c_void_p())
            self._call("cuCtxSynchronize")
            for where, host in results:
                self._call("cuMemcpyDtoH_v2", ctypes.c_void_p(host.ctypes.data), where, ctypes.c_size_t(host.nbytes))
        finally:
            for where in held:
                self._cuda.cuMemFree_v2(where)
        return [host for _, host in results]

    def _upload(self, host: Array) -> ctypes.c_uint64:
        where = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(where), ctypes.c_size_t(max(host.nbytes, 1)))
        self._call("cuMemcpyHtoD_v2", where, ctypes.c_void_p(host.ctypes.data), ctypes.c_size_t(host.nbytes))
        return where


def _library() -> Any:
    for name in ("libcuda.so.1", "nvcuda.dll", ctypes.util.find_library("cuda")):
        try:
            if name:
                return ctypes.CDLL(name)
        except OSError:
            continue
    raise DriverError("there is no CUDA driver here (libcuda.so.1)")
