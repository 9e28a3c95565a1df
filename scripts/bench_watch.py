"""Time a training step under watch, by that of the step alone: Llama, h 256, T 128, B 4, AdamW, interleaved runs.

python scripts/bench_watch.py [--layers 2] [--repeats 9] [--threads 1] [--no-update]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

import analysis as an


def model_and_tokens(layers: int, hidden: int = 256, length: int = 128, batch: int = 4) -> tuple[Any, Any]:
    """A Llama with random weights, and random tokens."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=length,
    )
    return transformers.LlamaForCausalLM(config), torch.randint(0, 512, (batch, length))


class Loop:
    """A training loop, under watch or not."""

    def __init__(self, layers: int, folder: Path | None, updates: bool, **options: Any) -> None:
        self.model, self.tokens = model_and_tokens(layers)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4) if updates else None
        self.watch = an.watch(self.model, out=folder, **options) if options else None
        if self.watch is not None:
            self.watch.__enter__()
            self.watch._show = None

    def step(self) -> float:
        """Seconds of processor time of one step."""
        begin = time.process_time()
        if self.watch is not None:
            self.watch.step()
        self.model(input_ids=self.tokens, labels=self.tokens).loss.backward()
        if self.optimizer is not None:
            self.optimizer.step()
        self.model.zero_grad()
        if self.watch is not None:
            self.watch._end()
        return time.process_time() - begin


def main() -> int:
    """Measure, and print medians of ratios beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-update", action="store_true", help="forward and backward pass alone")
    options = parser.parse_args()
    updates = not options.no_update
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        loops: dict[str, Callable[[], Loop]] = {
            "bfloat16 against the live run": lambda: Loop(
                options.layers, Path(folder) / "a", updates, policy="bf16", every=1
            ),
            "the live run against binary64": lambda: Loop(
                options.layers, Path(folder) / "b", updates, policy=None, every=1
            ),
            "bfloat16 and the live run against binary64": lambda: Loop(
                options.layers, Path(folder) / "c", updates, policy="bf16", every=1, reference="float64"
            ),
            "not sampled": lambda: Loop(options.layers, None, updates, policy="bf16", every=10**9),
        }
        goals = {"not sampled": "<= 1.05", "bfloat16 against the live run": "<= 4"}
        plain, made = Loop(options.layers, None, updates), {name: make() for name, make in loops.items()}
        for loop in (plain, *made.values()):
            loop.step()
        ratios: dict[str, list[float]] = {name: [] for name in made}
        seconds = []
        for _ in range(options.repeats):
            for name, loop in made.items():
                base = plain.step()
                seconds.append(base)
                ratios[name].append(loop.step() / base)
        print(f"step alone: {1e3 * statistics.median(seconds):.0f} ms, {options.threads} thread(s)")
        for name, found in ratios.items():
            goal = f"   goal {goals[name]}" if name in goals else ""
            print(f"{name:45s} {statistics.median(found):6.3f} times{goal}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
