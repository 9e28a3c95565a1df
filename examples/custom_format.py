"""A format that nobody named: seven bits, four of exponent, no infinities; and what a wrong one is told."""

import numpy as np

import floatemu as fe

e4m2 = fe.Format("e4m2", k=7, p=3, infinities=False, high_nans=1)
print(e4m2.describe())
print(f"largest {float(e4m2.max)}, smallest normal {float(e4m2.min_normal)}, smallest {float(e4m2.min_positive)}")

x = np.array([0.3, 1.1, 100.0, 1000.0])
values, flags = fe.round_with_flags(x, e4m2)
for before, after, flag in zip(x, values, flags):
    print(f"{before:7} -> {after:7} {fe.Flag(int(flag)).name}")

codes = np.arange(2**e4m2.k, dtype=np.uint8)
decoded = fe.decode(codes, e4m2)
again = fe.encode(decoded, e4m2)
assert np.array_equal(again[~np.isnan(decoded)], codes[~np.isnan(decoded)])
print(f"{np.isfinite(decoded).sum()} finite codes, each decoded and encoded again to itself")

try:
    fe.Format("too narrow", k=7, p=7)
except fe.FormatError as error:
    print(f"refused: {error}")
