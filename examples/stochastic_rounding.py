"""What `stream` is for: bfloat16 weights near 1 that take 1000 steps of 1e-4, rounded stochastically."""

import numpy as np

import floatemu as fe

STEPS, WEIGHTS = 1000, 2000


def train(stream_of):
    """Return the weights after the steps; ``stream_of`` gives the stream of a step."""
    weights = np.ones(WEIGHTS, dtype=np.float32)
    for step in range(STEPS):
        moved = weights + np.float32(1e-4)
        weights = fe.round(moved, "bf16", "STOCHASTIC_C", seed=1, stream=stream_of(step))
    return weights


nearest = np.ones(WEIGHTS, dtype=np.float32)
for _ in range(STEPS):
    nearest = fe.round(nearest + np.float32(1e-4), "bf16")
fresh = train(lambda step: step)
frozen = train(lambda step: 0)

print("in exact arithmetic every weight ends at 1.1")
print(f"to nearest:         mean {nearest.mean():.4f}, moved: {np.mean(nearest != 1):.0%}")
print(f"stream=step:        mean {fresh.mean():.4f}, moved: {np.mean(fresh != 1):.0%}")
print(f"a constant stream:  mean {frozen.mean():.4f}, moved: {np.mean(frozen != 1):.0%}")

assert np.all(nearest == 1)
assert abs(fresh.mean() - 1.1) < 0.005
assert np.mean(frozen != 1) < 0.05
