"""Write SST as a multi-label data set: the tags positive, negative and strong instead of 0 to 4.

    python examples/studies/tags.py DATA OUT

4 becomes positive|strong, 3 positive, 2 none (written []), 1 negative, 0 negative|strong. For `tags.toml`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

TAGS = {0: "negative|strong", 1: "negative", 2: "[]", 3: "positive", 4: "positive|strong"}


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "dev"):
        with (data / f"ids-sst-{split}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        with (out / f"tags-{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "sentence", "tags"])
            writer.writerows([row["id"], row["sentence"], TAGS[int(float(row["sentiment"]))]]
                             for row in rows)


if __name__ == "__main__":
    main()
