"""Training in emulated arithmetic: one recorded step, replayed with new weights and data for each."""

from __future__ import annotations

from ..training.feeds import Feed, feed
from ..training.loop import Trained, Trainer, train
from ..training.setup import Accumulation, Clip, Scaler, Setup
from ..training.stepping import Stepper

__all__ = ["Accumulation", "Clip", "Feed", "Scaler", "Setup", "Stepper", "Trained", "Trainer", "feed", "train"]
