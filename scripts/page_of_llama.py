"""Put what examples/finetune_llama.py prints and draws into docs/finetune-llama.md.

usage: page_of_llama.py [--printed FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from make_docs import ROOT, filled

PAGE, PICTURE = ROOT / "docs" / "finetune-llama.md", ROOT / "docs" / "images" / "finetune-llama.png"


def main() -> None:
    """Run the example, or take what it printed before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--printed", help="file with what an earlier run printed; the picture is left as it is")
    printed = parser.parse_args().printed
    if printed:
        text = Path(printed).read_text(encoding="utf-8")
    else:
        command = [sys.executable, str(ROOT / "examples" / "finetune_llama.py"), "--picture", str(PICTURE)]
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = [line.rstrip() for line in text.strip().splitlines()]
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(page, "output", "\n".join(["```text", *lines, "```"])), encoding="utf-8")


if __name__ == "__main__":
    main()
