"""Without torch the door is there, and says what to install."""

from __future__ import annotations

import sys

import pytest

import analysis as an
from floatemu import UnsupportedError


class Module:
    """Looks like a module of torch."""

    def named_parameters(self) -> list[object]:
        """Return nothing."""
        return []


def test_recording_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "analysis.torch", None)
    with pytest.raises(UnsupportedError, match=r"record needs torch \(.*\): pip install 'floatemu\[torch\]'"):
        an.record(Module())


@pytest.mark.parametrize("given", [None, 3, [], Module])
def test_what_is_no_module_is_refused(given: object) -> None:
    with pytest.raises(UnsupportedError, match=r"module is .*; accepted: a torch.nn.Module|record needs torch"):
        an.record(given)
