"""Print the first steps of every schedule: `python -m polytask.learn.schedules`."""

from __future__ import annotations

import sys
from typing import Any

from polytask.learn.schedules.contract import epoch_random, schedule
from polytask.learn.schedules.preview import preview, strip

ROWS = {"sst": 85, "quora": 283, "sts": 60}
SIZES = {"sst": 8, "quora": 16, "sts": 8}
SHOWN: dict[str, list[Any]] = {
    "batch_round_robin": ["batch_round_robin", {"type": "batch_round_robin", "joint": False}],
    "biased": [{"type": "biased", "weights": {"quora": 1.7}, "draws": 3}],
}


def main() -> None:
    """Show each schedule on three sets of uneven size."""
    sets = ", ".join(f"{task} {count} rows in {SIZES[task]}s" for task, count in ROWS.items())
    sys.stdout.write(f"{sets}; the first 100 steps\n")
    for name in schedule.members:
        for table in SHOWN.get(name, [name]):
            _show(table)


def _show(table: Any) -> None:
    chosen = schedule.read(table)
    epochs = 2
    whole = (step for epoch in range(chosen.num_epochs(ROWS, epochs))
             for step in chosen.plan(ROWS, SIZES, epoch, epochs, epoch_random(0, epoch)))
    first = preview(chosen, ROWS, SIZES, epochs=epochs)
    counts = ", ".join(f"{task} {count}" for task, count in first.batches.items())
    sys.stdout.write(f"\n{chosen}\n{strip(whole, ROWS)}\n"
                     f"first epoch: {first.steps} steps; batches: {counts}\n")


if __name__ == "__main__":
    main()
