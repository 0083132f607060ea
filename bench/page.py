"""Run all benchmarks and write their output into docs/performance.md (`make bench`).

    python bench/page.py [--data DATA] [--only steps,startup]

A script's output goes between the lines `<!-- NAME -->` and `<!-- end NAME -->` of the page; the
text around them is written by hand. Without --data the benchmarks use the sample that ships with the
package and skip the comparisons with `transformers.Trainer`, which need real rows; without a CUDA device
they skip the GPU's.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
SCRIPTS = {"training": ["--data"], "encoder": ["--data"], "steps": ["--data"],
           "prediction": ["--data"], "startup": ["--data"], "growth": ["--plot"], "gpu": ["--data"]}


def placed(page: str, name: str, text: str) -> str:
    """Return the page with a script's previous output replaced by `text`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"the page has no lines <!-- {name} --> and <!-- end {name} -->")
    return pattern.sub(lambda found: f"{found[1]}{text.strip()}\n{found[2]}", page)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path)
    words.add_argument("--only", default=",".join(SCRIPTS), help="names of scripts: A,B")
    given = words.parse_args()
    for name in given.only.split(","):
        if name in ("training", "gpu") and given.data is None:
            print(f"{name}: left out, it needs --data")
            continue
        if name == "gpu" and not torch.cuda.is_available():
            print("gpu: left out, torch sees no CUDA device")
            continue
        command = [sys.executable, str(HERE / f"{name}.py")]
        if "--data" in SCRIPTS[name] and given.data is not None:
            command += ["--data", str(given.data)]
        if "--plot" in SCRIPTS[name]:
            command += ["--plot", str(PAGE.with_name("growth.svg"))]
        began = time.perf_counter()
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        PAGE.write_text(placed(PAGE.read_text(encoding="utf-8"), name, said), encoding="utf-8")
        print(f"{said}\n[{name}: {time.perf_counter() - began:.0f} s]\n", flush=True)


if __name__ == "__main__":
    main()
