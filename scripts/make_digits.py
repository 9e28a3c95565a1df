"""Write analysis/data/digits.npz from the digits table of a scikit-learn wheel.

    python scripts/make_digits.py path/to/digits.csv.gz analysis/data/digits.npz

The table is scikit-learn's copy (``sklearn/datasets/data/digits.csv.gz``) of the test set of the UCI "Optical
Recognition of Handwritten Digits" data: 1797 rows of 64 pixel counts in 0..16 and a label in 0..9. Every number
fits one byte, so nothing is lost. The script prints the hash that the loader checks.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np


def main() -> None:
    """Convert the table and print the SHA-256 of what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="digits.csv.gz of scikit-learn")
    parser.add_argument("destination", type=Path)
    arguments = parser.parse_args()
    table = np.loadtxt(arguments.source, delimiter=",")  # numpy reads .gz itself
    if table.shape != (1797, 65) or not np.array_equal(table, table.astype(np.uint8)):
        raise SystemExit(f"expected 1797 rows of 65 small integers, got shape {table.shape}")
    with open(arguments.destination, "wb") as stream:
        np.savez_compressed(stream, X=table[:, :64].astype(np.uint8), y=table[:, 64].astype(np.uint8))
    print(arguments.destination.stat().st_size, "bytes, SHA-256 of the values:")
    print(hashlib.sha256(table.astype(np.uint8).tobytes()).hexdigest())


if __name__ == "__main__":
    main()
