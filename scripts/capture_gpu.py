"""Capture what this machine's GPU answers: single matrix instructions, conversions, whole products.

python scripts/capture_gpu.py --out FOLDER

Needs numpy and an NVIDIA driver; nvcc or NVRTC for the instructions and the conversions of PTX; torch for whole
products and its own conversions. What lacks is named in FOLDER/capture.json. The package need not be installed:
three of its files are loaded by their path. Sections that FOLDER holds already are not made again. `floatemu
validate FOLDER` compares the capture with the models, anywhere.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from capture.driver import DriverError
from capture.session import PARTS, Options, run


def main(arguments: list[str] | None = None) -> int:
    """Parse, capture, and say what happened; 1 if a section lacks, 2 without a device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the capture; made if it is not there")
    parser.add_argument(
        "--simulate", metavar="UNIT", help="let floatemu play the device: hopper, hopper.wgmma, a row ..."
    )
    parser.add_argument("--vectors", type=int, default=16384, help="random vectors of each distribution")
    parser.add_argument("--chunks", type=int, help="chunks of 2^20 inputs to hash in conversions; default: all")
    parser.add_argument("--budget", type=float, default=300, metavar="SECONDS", help="time to take in all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args(arguments)
    chunks = 2 if given.chunks is None and given.simulate else given.chunks
    options = Options(given.out, given.simulate, given.vectors, chunks, given.budget, tuple(given.parts))
    try:
        complete = run(options)
    except DriverError as error:
        print(f"no capture: {error}", file=sys.stderr)
        return 2
    return 0 if complete else 1


if __name__ == "__main__":
    raise SystemExit(main())
