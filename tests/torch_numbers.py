"""Numbers that tell roundings apart, for the routes that projections of tensors take."""

import numpy as np

import floatemu as fe

NARROW = [name for name, fmt in fe.FORMATS.items() if fmt.k <= 16 and fmt.zero]
HALVES = np.arange(2**16, dtype=np.uint32).astype(np.uint16).view(np.float16)
RNG = np.random.default_rng(11)
SINGLES = RNG.integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
DOUBLES = RNG.integers(0, 2**64 - 1, 1000, dtype=np.uint64).view(np.float64)


def near(fmt):
    """binary32 and binary64 numbers around the values and ties of the upper and the lower end of a format."""
    codes = np.arange(2 ** min(fmt.k, 6), dtype=np.uint64)
    known = np.concatenate([fe.decode(codes, fmt), fe.decode(fmt.max_code - codes[: fmt.max_code], fmt)])
    known = np.unique(np.abs(known[np.isfinite(known)]))
    middle = np.concatenate([known, (known[1:] + known[:-1]) / 2, [float(fmt.max) * 1.03, float(fmt.max) * 1.07]])
    around = np.concatenate([np.nextafter(middle, 0), middle, np.nextafter(middle, np.inf)])
    single = middle[middle < 3.4e38].astype(np.float32)
    shorter = np.concatenate([np.nextafter(single, np.float32(0)), single, np.nextafter(single, np.float32(np.inf))])
    return [np.concatenate([shorter, -shorter, SINGLES]), np.concatenate([around, -around, DOUBLES])]
