"""The subcommands, one a file; each registers itself when it is imported, and ``--help`` lists them in this order."""

from importlib import import_module

from ..making import app

__all__ = ["ORDER", "app"]

ORDER = ("demo", "formats", "inspect", "trace", "lab", "advise", "validate", "diff", "identify", "doctor")

for _name in ORDER:
    import_module(f".{_name}", __name__)
