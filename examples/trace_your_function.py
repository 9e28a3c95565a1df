"""A numpy function of your own, traced: which of its lines loses the gradient in half precision, and why."""

import numpy as np

import analysis as an


def attention_score(query, key):
    scores = query @ key.T
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)  # no maximum subtracted first
    return (weights * weights).sum()


rng = np.random.default_rng(0)
query, key = rng.normal(size=(4, 16)) * 2, rng.normal(size=(4, 16))
tape = an.record_numpy(attention_score, query, key, wrt="query")

for name in ("binary32", "bfloat16", "binary16"):
    found = an.analyze(tape, an.Policy.uniform(name))
    print(found.verdict("grad:query"))
    first = next((event for event in found.events if event.fatal), None)
    if first is not None:
        print(f"    {first.kind} first at {tape.nodes[first.node].site}, in np.{first.op}")
