"""The command ``floatemu``; each subcommand imports its own needs, so that ``--help`` comes at once."""

from .commands import app
from .running import main

__all__ = ["app", "main"]
