"""One backward pass of a network on real digits in several policies: what each keeps of the first layer's gradient."""

import analysis as an
from analysis.reference import reference

tape = an.nets.mlp((64, 32, 32, 10), "gelu", batch=32)
exact = reference(tape)  # mpmath, once for all policies
print(f"{len(tape)} operations, reference at {exact.bits} bits")

policies = [
    an.Policy.uniform("bfloat16"),
    an.Policy.mixed("bfloat16"),
    an.Policy.uniform("bfloat16", "stochastic_c", seed=1),
    an.Policy.uniform("e4m3fn", saturation="SatFinite"),
    an.Policy.named("fp8_recipe"),
]
for policy in policies:
    target = an.analyze(tape, policy, exact).target("grad:W0")
    print(f"{policy.name:24} {target.bits:5.1f} bits kept, {100 * target.zero_fraction:4.1f} % zeros")
