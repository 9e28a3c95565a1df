"""The exceptions floatemu raises; each says what was given, what is accepted and what to do."""

from __future__ import annotations


class FloatEmuError(Exception):
    """Base of every exception that floatemu raises on purpose."""


class FormatError(FloatEmuError, ValueError):
    """A format is unknown, or its parameters contradict one another."""


class ProjectionError(FloatEmuError, ValueError):
    """A rounding, saturation or NaN policy is unknown, or cannot be applied to the given values."""


class UnsupportedError(FloatEmuError, TypeError):
    """The request is meaningful, but outside what this function or this installation supports."""


class FileError(FloatEmuError, ValueError):
    """A file is not what it should be: truncated, too large, of another schema, or hostile."""
