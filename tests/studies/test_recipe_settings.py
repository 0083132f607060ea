"""Every setting of every recipe is what recipes/settings.tsv says, with its place in the report."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import recipe_settings  # noqa: E402

PLACES = re.compile(r"(§[\d.]+|Table \d+|Figures? \d+|App\. [A-Z]|Abstract|ours|task|cited code|L-\d+)"
                    r"(, (§[\d.]+|\d+|Table \d+|App\. [A-Z]))*( \([A-Z]{2}-\d+\))?")


@pytest.mark.technique(
    "M-4", "M-5", "M-6", "M-24", "M-25", "M-26", "M-27", "M-28", "M-29", "M-30", "M-31", "M-37", "M-38",
    "G-7", "G-10", "G-13", "G-14", "G-15", "G-16", "G-17", "G-18", "G-19", "G-20", "G-27", "T-1",
    "T-2", "T-3", "T-4", "T-7", "T-8", "T-18", "T-21", "T-24", "T-26", "T-28", "T-29", "T-30",
    "T-31", "T-32", "P-1", "P-10", "P-16", "P-17", "P-18", "P-22", "S-1", "S-7", "S-11", "S-13",
    "S-14", "S-16", "S-17", "S-18", "S-19", "S-20", "S-21", "S-22"
)
def test_every_setting_is_what_the_report_says() -> None:
    assert recipe_settings.faults() == []


def test_every_line_says_where_it_is_from() -> None:
    for line in recipe_settings.lines(ROOT / "recipes" / "settings.tsv"):
        assert PLACES.fullmatch(line.where), line


@pytest.mark.parametrize(("file", "old", "new", "said"), [
    ("bases/mfrr.toml", "lr = 1e-5", "lr = 3e-5", "train.optimizer.lr = 3e-05, expected 1e-05 (Table 3)"),
    ("practices/table-3.toml", "alpha = 1.5", "alpha = 0.1", "alpha = 0.1, expected 1.5 (§4.4)"),
    ("practices/text-5-6.toml", "temperature = 0.1 ", "temperature = 9 ", "= 9, expected 0.1 (§4.6)"),
    ("mfrr/table-2.toml", "weight = 0.0001", "weight = 50", "weight = 50, expected 0.0001 (Table 3)"),
    ("swissbert/table-3.toml", "weighting.lr\" = 1e-4", "weighting.lr\" = 0.5", "expected 0.0001"),
    ("surgery/figure-4.toml", "decay\" = 0.1 }", "decay\" = 0.3 }", "expected 0.1 (Figure 4)"),
    ("triple-threat/table-9.toml", '"train.weighting"', '"train.weightin"', "is in no line"),
])
def test_another_setting_is_noticed(file: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    copy = tmp_path / "recipes"
    shutil.copytree(ROOT / "recipes", copy)
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    assert any(said in fault for fault in recipe_settings.faults(copy)), recipe_settings.faults(copy)[:5]
