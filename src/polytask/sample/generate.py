"""Makes the sample: graded reviews (`sst`), question pairs (`quora`), sentence pairs (`sts`).

Everything follows from `SEED`, so `python -m polytask.sample.generate` writes the shipped files
again, byte for byte. No text stands in two splits, nor does a filling of the templates of the
pairs. A share of the grades and similarities is one off, as if people had given them; of the
question pairs, twice that share asks almost the same, and half of those are duplicates.
"""

import argparse
import csv
import hashlib
import io
import pathlib
import random
import sys
from collections.abc import Iterable, Iterator, Sequence

from polytask.sample import pairs, reviews, root
from polytask.sample.grammar import Grammar, quotas, rules

Splits = Iterator[tuple[str, list[tuple[str, ...]]]]

SEED = 11711
SIZES = {"train": 600, "dev": 150, "test": 150}
GRADES = {0: 0.13, 1: 0.25, 2: 0.19, 3: 0.27, 4: 0.16}
MOST_WORDS = 40  # of a review
DISSENT = 0.09  # share of the labels that are one grade off
COLUMNS = {
    "sst": ("sentence", "sentiment"),
    "quora": ("sentence1", "sentence2", "is_duplicate"),
    "sts": ("sentence1", "sentence2", "similarity"),
}


def files(seed: int = SEED) -> dict[str, str]:
    """The text of every file of the sample, by name."""
    written = {}
    for task, columns in COLUMNS.items():
        rng = random.Random(f"{task} {seed}")
        for split, rows in MAKERS[task](rng):
            rng.shuffle(rows)
            written[f"{task}-{split}.csv"] = table(columns, rows)
    return written


def write(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write the sample's files into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in files().items():
        paths.append(folder / name)
        paths[-1].write_text(text, encoding="utf-8", newline="\n")
    return paths


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows as tab-separated text with an unnamed index and an id, like the real files."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(["", "id", *columns])
    for index, row in enumerate(rows):
        name = hashlib.sha256("\t".join(row[:-1]).encode()).hexdigest()[:25]
        writer.writerow([index, name, *row])
    return buffer.getvalue()


def graded_reviews(rng: random.Random) -> Splits:
    """Reviews of every split: (sentence, grade)."""
    grammar = Grammar(rules(reviews.RULES), ["kind"], rng)
    seen: set[str] = set()
    for split, size in SIZES.items():
        rows: list[tuple[str, ...]] = []
        for grade, wanted in quotas(GRADES, size).items():
            end = len(rows) + wanted
            while len(rows) < end:
                text = grammar.write(f"grade{grade}")
                if text not in seen and len(text.split()) <= MOST_WORDS:
                    seen.add(text)
                    rows.append((text, str(grade)))
        yield split, dissent(rows, 4, "{:.0f}", rng)


def question_pairs(rng: random.Random) -> Splits:
    """Question pairs of every split: (question, question, 1 for duplicates or 0)."""
    for split, families in pairs.families(rng).items():
        yield split, list(pairs.question_rows(families, SIZES[split], rng))


def sentence_pairs(rng: random.Random) -> Splits:
    """Sentence pairs of every split: (sentence, sentence, similarity)."""
    source = pairs.SentencePairs(rng)
    for split, size in SIZES.items():
        yield split, dissent(list(source.rows(split, size)), 5, "{:.1f}", rng)


MAKERS = {"sst": graded_reviews, "quora": question_pairs, "sts": sentence_pairs}


def dissent(
    rows: Sequence[tuple[str, ...]], highest: float, form: str, rng: random.Random
) -> list[tuple[str, ...]]:
    """The rows with a share of their labels one grade off, inside [0, highest]."""
    changed = list(rows)
    for at in rng.sample(range(len(rows)), round(DISSENT * len(rows))):
        *texts, label = rows[at]
        grade = float(label)
        step = rng.choice([step for step in (-1, 1) if 0 <= grade + step <= highest])
        changed[at] = (*texts, form.format(grade + step))
    return changed


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sample and name its files."""
    parser = argparse.ArgumentParser(prog="python -m polytask.sample.generate", description=main.__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=root(), help="the folder to write into")
    for path in write(parser.parse_args(arguments).out):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
