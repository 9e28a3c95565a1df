"""A running mean in bfloat16, with the rounder inside the user's own compiled loop."""

import numpy as np
from numba import njit

import floatemu as fe

to_bf16 = fe.rounder("bfloat16")


@njit
def running_mean(samples, weight):
    """Return the running mean after each sample; every product and sum is rounded to bfloat16."""
    means = np.empty_like(samples)
    mean = 0.0
    for i in range(samples.size):
        step = to_bf16(weight * to_bf16(samples[i] - mean))
        mean = to_bf16(mean + step)
        means[i] = mean
    return means


samples = np.full(400, 1.0)
means = running_mean(samples, 1 / 64)

# The same loop in plain Python gives the same bits.
mean = 0.0
for i, sample in enumerate(samples):
    mean = float(fe.round(mean + float(fe.round(1 / 64 * float(fe.round(sample - mean, "bf16")), "bf16")), "bf16"))
    assert mean == means[i]

stuck = means[-1]
gap = fe.ulp(stuck, "bf16")
print(f"after {samples.size} samples of 1.0 the mean is {stuck}, and stays there:")
print(f"the next step, {(1 - stuck) / 64}, is no more than half the gap {gap} to the next bfloat16")
assert means[-1] == means[-100] < 1.0
