"""What validation found is shown in lines: counts, shares, the first lines of a file."""

from __future__ import annotations

from polytask.data.validation_report import Overlap, SplitReport, refusal_lines


def report(**changes: object) -> SplitReport:
    values: dict[str, object] = {
        "file": "a.csv", "found": 4, "used": 4, "refused": [], "empty_texts": 0,
        "shares": {"no": 0.25, "yes": 0.75}, "lengths": {"50": 9, "max": 21}, "max_length": 20,
        "truncated": 1, "duplicates": 0, "conflicting": 0, "duplicate_lines": []}
    return SplitReport(**{**values, **changes})  # type: ignore[arg-type]


def test_a_split_is_shown_with_its_shares_and_lengths() -> None:
    assert report().lines("train") == [
        "train 4 rows, 0 refused   a.csv", "      labels  no 25.0%   yes 75.0%",
        "      tokens  50 % 9, max 21; 1 row (25.0%) truncated at 20"]


def test_of_very_many_labels_the_most_frequent_and_the_rarest_are_shown() -> None:
    shares = {f"c{n}": (40 - n) / 820 for n in range(40)}
    (line,) = [line for line in report(shares=shares).lines("dev") if "labels" in line]
    assert "c0 4.9%" in line and "the rarest of 40: c39 0.1%" in line and "c20" not in line


def test_refusals_are_grouped_by_reason() -> None:
    refused = [(3, "no text"), (5, "no label"), (9, "no text"), (11, "no text"), (12, "no text")]
    assert refusal_lines("a.csv", refused) == [
        "refused 4: no text (a.csv:3, a.csv:9, a.csv:11, …)", "refused 1: no label (a.csv:5)"]


def test_an_overlap_names_the_lines_of_both_files() -> None:
    overlap = Overlap("sst dev", "sst train", ("dev.csv", "train.csv"), 1, False, [(2, 7)])
    assert overlap.line() == "1 row of sst dev that stands in sst train: dev.csv:2 = train.csv:7"
