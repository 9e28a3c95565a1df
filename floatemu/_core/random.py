"""Counter-based random bits f(seed, stream, index), the same on every face and for any thread count.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014): output n of a generator seeded s is ``mix(s + (n + 1) * GAMMA)`` modulo 2^64, so that any
output is computed on its own. The state of (seed, stream) is output ``stream`` of the generator seeded
``seed``. Elements 2i and 2i + 1 use the low and the high 32 bits of output i of the generator seeded
with that state; N random bits are the top N of those 32.
"""

from __future__ import annotations

from typing import Any

GAMMA = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def word_at(w: Any, state: Any, index: Any) -> Any:
    """Output number ``index`` of the SplitMix64 generator seeded ``state``."""
    z = w((state + w((index + w(1)) * w(GAMMA))) & w(MASK))
    z = w(((z ^ w(z >> w(30))) * w(0xBF58476D1CE4E5B9)) & w(MASK))
    z = w(((z ^ w(z >> w(27))) * w(0x94D049BB133111EB)) & w(MASK))
    return w(z ^ w(z >> w(31)))


def draw(w: Any, state: Any, index: Any, n: Any) -> Any:
    """The ``n`` random bits (1..32) of element ``index``, in 64-bit words."""
    half = w(word_at(w, state, w(index >> w(1))) >> w(w(index & w(1)) << w(5)))
    return w(w(half & w(0xFFFFFFFF)) >> w(w(32) - n))


def stream_state(seed: int, stream: int) -> int:
    """State of the generator of (seed, stream); both are taken modulo 2^64."""
    return int(word_at(int, seed & MASK, stream & MASK))


TEXT = (word_at, draw)
"""The functions that ``kernels`` compiles."""
