"""A small Llama, fine-tuned in float32, fp16, bf16 and fp8, and what low precision did to it, diagnosed.

Random weights are first trained in float32 on most of "Alice's Adventures in Wonderland"; the last chapters are then
learned in each arithmetic, from the same weights, with the same batches. `an.watch` follows every 50th step in binary64
beside the run, and names the call that makes the first infinity or NaN. Where a run goes wrong, its last step is
recorded once more and analysed: `an.record`, `an.analyze(...).diagnose()`. docs/finetune-llama.md shows what comes out.

usage: finetune_llama.py [--before STEPS] [--steps STEPS] [--only NAME ...] [--picture FILE]
"""

# needs: torch transformers
# in tests: --before 6 --steps 3 --only fp16 bf16

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import analysis as an
import floatemu.interop.torch as ft

TEXT = (Path(__file__).parent / "data" / "alice.txt").read_text(encoding="ascii")
LETTERS = sorted(set(TEXT))
CODES = torch.tensor([LETTERS.index(letter) for letter in TEXT])
FIRST, TUNED = CODES[:100_000], CODES[100_000:140_000]
HELD_OUT = CODES[140_000:]
LENGTH, BATCH = 64, 16
RATE = 3e-3, 1e-4
"""Of learning, before and in fine-tuning."""
WATCHED = 50
"""Steps from one that is watched to the next."""
WRONG = 0.05
"""Share of what float32 learns that a run may miss without being diagnosed."""


@dataclass(frozen=True)
class Arithmetic:
    """How a run computes: dtype of its weights, what surrounds the model's call, the policy that models it."""

    weights: torch.dtype
    within: Callable[[Any], Any]
    policy: Any
    scaler: bool = False


def plainly(model: Any) -> Any:
    return contextlib.nullcontext()


def autocast(dtype: torch.dtype) -> Callable[[Any], Any]:
    return lambda model: torch.autocast("cpu", dtype)


def pure(fmt: str) -> an.Policy:
    """All in one format but the normalisation, in which Llama widens to float32."""
    rules = (
        an.Rule(an.Numerics(result="binary32"), path="*norm", direction="forward|backward"),
        an.Rule(an.Numerics(result=fmt)),
    )
    return an.Policy(f"pure {fmt}", (an.Rule(an.Numerics(result=fmt), op="parameter"), *rules))


UNSCALED = ft.Recipe(scaling="none")
ARITHMETICS = {
    "float32": Arithmetic(torch.float32, plainly, "binary32"),
    "fp16": Arithmetic(torch.float16, plainly, pure("binary16")),
    "fp16, float32 weights, scaler": Arithmetic(torch.float32, autocast(torch.float16), "torch_amp", scaler=True),
    "bf16": Arithmetic(torch.bfloat16, plainly, pure("bfloat16")),
    "bf16, float32 weights": Arithmetic(torch.float32, autocast(torch.bfloat16), "mixed:bfloat16"),
    "fp8 without scales": Arithmetic(torch.float32, lambda model: ft.emulate(model, UNSCALED), "fp8_recipe"),
    "fp8, scale per tensor": Arithmetic(torch.float32, lambda model: ft.emulate(model, "fp8_tensor"), "fp8_recipe"),
    "mxfp8": Arithmetic(torch.float32, lambda model: ft.emulate(model, "mxfp8"), "fp8_recipe"),
}


@dataclass
class Run:
    """What became of one run."""

    name: str
    losses: list[float] = field(default_factory=list)
    held_out: float = math.nan
    seconds: float = 0.0
    kept: float = 0.0  #: share of the weights that the last step left as they were
    first: Any = None  #: the call that made the first infinity or NaN in a watched step
    worst: str = ""  #: the parameter that it left most of, or the first that is not finite
    before: Any = None  #: model and optimiser before the last step
    batch: Any = None


def new_model() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "max_position_embeddings": 128}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(LETTERS), **sizes, **heads))


def batches(codes: Any, seed: int) -> Any:
    """Yield pieces of the text, drawn with a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(codes) - LENGTH, (BATCH,), generator=generator)
        yield torch.stack([codes[start : start + LENGTH] for start in starts.tolist()])


def held_out_loss(model: Any) -> float:
    """The loss on text that no step has seen, in float32."""
    model, drawn = copy.deepcopy(model).float(), batches(HELD_OUT, seed=2)
    with torch.no_grad():
        return sum(model(input_ids=x, labels=x).loss.item() for x, _ in zip(drawn, range(8))) / 8


def train(model: Any, arithmetic: Arithmetic, run: Run, codes: Any, rate: float, steps: int, seed: int) -> Run:
    """Take steps until the loss or a weight is no number."""
    begin, drawn = time.perf_counter(), batches(codes, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    scaler = torch.amp.GradScaler("cpu", enabled=arithmetic.scaler)
    within = arithmetic.within(model)  # one for all steps: recipes remember scales
    with an.watch(model, every=WATCHED, start=1) as watch:
        for _, x in zip(range(steps), drawn):
            run.before, run.batch = (copy.deepcopy(model), copy.deepcopy(optimizer.state_dict())), x
            with watch.step():
                with within:
                    loss = model(input_ids=x, labels=x).loss
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            run.losses.append(loss.item())
            if not math.isfinite(run.losses[-1]) or not all(p.isfinite().all() for p in model.parameters()):
                break
    run.first = watch.first_nonfinite
    pairs = zip(model.named_parameters(), run.before[0].parameters())
    same = {name: (new == old).float().mean().item() for (name, new), old in pairs}
    broken = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    run.kept = sum(same[name] * sizes[name] for name in same) / sum(sizes.values())
    run.worst = broken[0] if broken else max(same, key=lambda name: same[name])
    run.held_out = held_out_loss(model)
    run.seconds = time.perf_counter() - begin
    return run


def last_step(run: Run) -> an.Tape:
    """Record the last step once more, from the numbers that it began with, with four pieces of its batch.

    In float32: what a format would make of it is the policy's business.
    """
    model, state = run.before
    model = copy.deepcopy(model).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE[1])
    optimizer.load_state_dict(state)  # which casts it to the parameters' dtype
    inputs = {"input_ids": run.batch[:4], "labels": run.batch[:4]}
    return an.record(model, keywords=inputs, optimizer=optimizer, name=f"llama, {run.name}")


def diagnosis(run: Run) -> list[str]:
    """Who made the first infinity or NaN, the verdict on what the last step made, and the gravest causes, in words."""
    target = f"new:{run.worst}" if run.kept > 0.5 or not math.isfinite(run.held_out) else f"grad:{run.worst}"
    found = an.analyze(last_step(run), ARITHMETICS[run.name].policy, "float64", target=target)
    made = [] if run.first is None else [f"under watch, {run.first.text}"]
    return [*made, found.verdict(), *(cause.text for cause in found.diagnose()[:2])]


def lost(run: Run, plain: Run, start: float) -> float:
    """The share of what float32 learned that a run did not."""
    return (run.held_out - plain.held_out) / (start - plain.held_out)


def draw(runs: list[Run], path: str) -> None:
    """Curves of the loss, each point the mean of ten steps, as differences from float32."""
    from matplotlib.figure import Figure

    axes = (figure := Figure((8, 4.5), layout="constrained")).add_subplot()
    for run in runs[1:]:
        steps = len(run.losses) // 10 * 10
        gaps = torch.tensor(run.losses[:steps]) - torch.tensor(runs[0].losses[:steps])
        axes.plot(range(5, steps, 10), gaps.reshape(-1, 10).mean(1), label=run.name, linewidth=1.5)
        if not math.isfinite(run.held_out):
            axes.plot(len(run.losses), 0, "x", color=axes.lines[-1].get_color())
            axes.annotate("NaN", (len(run.losses), 0), (4, 4), textcoords="offset points")
    axes.set_xlabel("step")
    axes.set_ylabel("loss above that of float32")
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Train, print a table, and diagnose what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=int, default=300, help="steps in float32, from random weights")
    parser.add_argument("--steps", type=int, default=200, help="steps of fine-tuning in each arithmetic")
    parser.add_argument("--only", nargs="+", choices=ARITHMETICS, default=list(ARITHMETICS), metavar="NAME")
    parser.add_argument("--picture", help="file for the curves of the loss (needs matplotlib)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # products of this size gain nothing from more
    begin, model = time.perf_counter(), new_model()
    train(model, ARITHMETICS["float32"], Run("before"), FIRST, RATE[0], options.before, seed=0)
    start = held_out_loss(model)
    print(
        f"a Llama of {sum(p.numel() for p in model.parameters())} weights after {options.before} steps in float32: ",
        end="",
    )
    print(f"loss {start:.4f} on text held out\n")
    print(f"{'fine-tuned in':30} {'steps':>5} {'loss held out':>13} {'not learned':>11} {'unmoved':>8} {'ms/step':>8}")
    runs = []
    for name in dict.fromkeys(["float32", *options.only]):
        tuned = copy.deepcopy(model).to(ARITHMETICS[name].weights)
        run = train(tuned, ARITHMETICS[name], Run(name), TUNED, RATE[1], options.steps, seed=1)
        runs.append(run)
        share = f"{100 * lost(run, runs[0], start):.1f} %" if math.isfinite(run.held_out) else "all"
        print(f"{name:30} {len(run.losses):5} {run.held_out:13.4f} {share:>11} {100 * run.kept:6.1f} %", end="")
        print(f" {1000 * run.seconds / len(run.losses):8.0f}", flush=True)
    for run in runs:
        if not lost(run, runs[0], start) <= WRONG:
            print(f"\n{run.name}, step {len(run.losses)}:")
            print(
                "\n".join(
                    textwrap.fill(line, 118, initial_indent="- ", subsequent_indent="  ") for line in diagnosis(run)
                )
            )
    print(f"\n{time.perf_counter() - begin:.0f} s, one thread of torch's")
    if options.picture:
        draw(runs, options.picture)


if __name__ == "__main__":
    main()
