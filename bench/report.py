"""Time the report of a run with very many predictions, and print the size of its page.

    python bench/report.py RUN [--rows 100000]

RUN is a finished run. In a copy of its folder, every task's dev predictions are repeated until the tasks
together have --rows rows; every other prediction is taken from another row, so that errors abound.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
import time
from pathlib import Path

from machine import heading, table

from polytask.commands.report import report


def repeated(file: Path, rows: int) -> None:
    """Extend a predictions file to the given number of rows."""
    csv.field_size_limit(sys.maxsize)
    with file.open(newline="", encoding="utf-8") as lines:
        head, *held = csv.reader(lines)
    at = head.index("prediction")
    with file.open("w", newline="", encoding="utf-8") as lines:
        out = csv.writer(lines)
        out.writerow(head)
        for n in range(rows):
            row = list(held[n % len(held)])
            if n % 2:
                row[at] = held[(n * 7 + n // len(held)) % len(held)][at]
            out.writerow(row)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("--rows", type=int, default=100_000)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        shutil.copytree(given.run, run, ignore=shutil.ignore_patterns("*.safetensors", "checkpoints"))
        files = sorted((run / "predictions").glob("*-dev.csv"))
        for file in files:
            repeated(file, given.rows // len(files))
        body = []
        for plots in (False, True):
            began = time.perf_counter()
            page = report([run], plots=plots)
            took = time.perf_counter() - began
            body.append(["page and plots" if plots else "page", f"{given.rows:,}", f"{took:.1f}",
                         f"{page.stat().st_size / 1e6:.2f}"])
    print(heading("matplotlib"), "", table(["made", "predictions", "seconds", "MB of the page"], body),
          sep="\n")


if __name__ == "__main__":
    main()
