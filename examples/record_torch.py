"""An unmodified torch module, its backward pass and its optimiser's step, recorded and looked at in bfloat16."""

# needs: torch

import torch

import analysis as an

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.GELU(), torch.nn.Linear(16, 3))
x, labels = torch.randn(4, 8), torch.tensor([0, 2, 1, 0])
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
tape = an.record(net, x, loss=lambda y: torch.nn.functional.cross_entropy(y, labels), optimizer=optimizer)
print(f"{len(tape)} nodes; without a rule: {tape.meta['opaque'] or 'none'}")

found = an.analyze(tape, "bf16", reference="float64", target="grad:0.weight")
print(found.verdict())
for part in found.attribution().contributions[:3]:
    print(f"{part.label}: {part.cause}, {part.value:+.2e}")

new = found.target("new:0.weight")
print(f"the weights after the step keep {new.bits:.1f} bits")
for cause in found.diagnose("new:0.weight"):
    print(cause)
