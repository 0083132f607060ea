"""Answer the nineteen sentences that two of the reports print, beside the reports' own answers.

    python examples/printed_sentences.py RUN

RUN is a run or model folder with some or all of the tasks sst (five labels), quora and sts (0 to 5). The
sentences are quoted from practices, Appendix A (P-28: eleven errors), and swissbert, section 6 (S-28:
eight examples). Those that come from the data sets may be among a run's own training rows.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import polytask as pk

FILE = Path(__file__).with_suffix(".csv")
COLUMNS = ("report", "task", "sentences", "true", "reported", "here")


def answered(model: pk.Model) -> list[dict[str, str]]:
    """Return the sentences of the model's tasks, each with the model's answer under "here"."""
    with FILE.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] in model.tasks]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        texts = [tuple(filter(None, (row["sentence1"], row["sentence2"]))) for row in own]
        for row, prediction in zip(own, model.predict(task, texts), strict=True):
            row["here"] = str(prediction.label)
    return rows


def main() -> None:
    """Print the table, and how often each side is right (numbers: within one)."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    rows = answered(pk.load(sys.argv[1]))
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows:
        sentences = " · ".join(filter(None, (row["sentence1"], row["sentence2"])))
        print(f"| {row['report']} | {row['task']} | {sentences} | {row['true']} | {row['reported']} "
              f"| {row['here']} |")
    for side in ("reported", "here"):
        right = sum(abs(float(row[side]) - float(row["true"])) <= (1.0 if row["task"] == "sts" else 0.0)
                    for row in rows)
        print(f"\n{side}: {right} of {len(rows)} right" + (" (similarity: within 1)" * (side == "here")))


if __name__ == "__main__":
    main()
