"""Captures of what a GPU's matrix units answer; see docs/capture.md."""
