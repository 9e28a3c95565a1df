"""Counter-based random bits f(seed, stream, index), the same on every face and for any thread count.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014): output n of a generator seeded s is ``mix(s + (n + 1) * GAMMA)`` modulo 2^64, so that any
output is computed on its own. The state of (seed, stream) is output ``stream`` of the generator seeded
``seed``; the word of element ``index`` is output ``index`` of the generator seeded with that state;
N random bits are its top N.
"""

from __future__ import annotations

GAMMA = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def word_at(w, state, index):  # type: ignore[no-untyped-def]
    """Output number ``index`` of the SplitMix64 generator seeded ``state``."""
    z = w((state + w((index + w(1)) * w(GAMMA))) & w(MASK))
    z = w(((z ^ w(z >> w(30))) * w(0xBF58476D1CE4E5B9)) & w(MASK))
    z = w(((z ^ w(z >> w(27))) * w(0x94D049BB133111EB)) & w(MASK))
    return w(z ^ w(z >> w(31)))


def stream_state(seed: int, stream: int) -> int:
    """State of the generator of (seed, stream); both are taken modulo 2^64."""
    return int(word_at(int, seed & MASK, stream & MASK))


TEXT = (word_at,)
"""The functions that ``kernels`` compiles."""
