"""Event files of TensorBoard, written by hand: records framed with checksums, scalars in protobuf's wire format."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

__all__ = ["EventWriter", "crc32c", "masked"]

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits reversed (RFC 3720, appendix B.4)


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes (RFC 3720, appendix B.4).

    Parameters
    ----------
    data : bytes

    Returns
    -------
    int

    Examples
    --------
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum as TFRecord files hold it: turned right by 15 bits, plus a constant.

    Parameters
    ----------
    crc : int

    Returns
    -------
    int

    Examples
    --------
    >>> hex(masked(0))
    '0xa282ead8'
    """
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(number: int) -> bytes:
    # groups of seven bits, the lowest first; negative numbers as 64-bit two's complement
    number &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _field(number: int, kind: int, payload: bytes) -> bytes:
    length = _varint(len(payload)) if kind == _BYTES else b""
    return _varint(number << 3 | kind) + length + payload


# Numbers of the fields in TensorFlow's event.proto and summary.proto.
_EVENT = MappingProxyType({"wall_time": 1, "step": 2, "file_version": 3, "summary": 5})
_VALUE, _TAG, _SIMPLE = 1, 1, 2


def _event(wall_time: float, step: int, rest: bytes) -> bytes:
    time_ = _field(_EVENT["wall_time"], _FIXED64, struct.pack("<d", wall_time))
    return time_ + _field(_EVENT["step"], _VARINT, _varint(step)) + rest


def _scalar(tag: str, value: float) -> bytes:
    inner = _field(_TAG, _BYTES, tag.encode("utf-8")) + _field(_SIMPLE, _FIXED32, _binary32(value))
    return _field(_VALUE, _BYTES, inner)


def _binary32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


class EventWriter:
    """Writes scalars to one event file; what has been written is on its way to the disk at once.

    Parameters
    ----------
    path : path-like
        TensorBoard finds files whose names contain "tfevents".

    Raises
    ------
    OSError
        If the file cannot be written.

    Notes
    -----
    A record is: length (uint64), masked CRC-32C of these eight bytes, the bytes, masked CRC-32C of the bytes; all
    little-endian (TensorFlow, "TFRecord and tf.train.Example").

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "events.out.tfevents.0"
    ...     writer = EventWriter(path)
    ...     writer.scalars({"loss": 0.5}, step=3)
    ...     writer.close()
    ...     b"loss" in path.read_bytes()
    True
    """

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "ab")
        version = _field(_EVENT["file_version"], _BYTES, b"brain.Event:2")
        self._record(_event(time.time(), 0, version))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers of one step, rounded to binary32.

        Parameters
        ----------
        values : mapping of str to float
            By tag; parts separated by "/" become groups.
        step : int
        """
        if values:
            summary = b"".join(_scalar(tag, value) for tag, value in values.items())
            self._record(_event(time.time(), step, _field(_EVENT["summary"], _BYTES, summary)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _record(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        checks = [struct.pack("<I", masked(crc32c(part))) for part in (length, data)]
        self._file.write(length + checks[0] + data + checks[1])
        self._file.flush()
