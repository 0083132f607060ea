"""docs/mutations.md: no number that a report states changes unnoticed, and every mutation is listed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))
import mutations  # noqa: E402


def part(name: str) -> str:
    """Return a part of the page that the script writes."""
    page = mutations.PAGE.read_text(encoding="utf-8")
    return page.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- end {name} -->")[0]


@pytest.mark.timeout(600)
def test_no_number_that_a_report_states_can_be_changed_unnoticed() -> None:
    report = mutations.recipe_report()
    assert report.survivors == []
    _, *drawn = mutations.drawn_recipes(report).partition("Of ")  # without processor and date
    assert part("recipes").endswith("".join(drawn)), "run: python bench/mutations.py recipes --write"


def test_a_number_is_changed_outside_strings_and_comments_alone() -> None:
    numbers = list(mutations.numbers(mutations.RECIPES / "mfrr" / "table-2.toml"))
    assert all(keys for _, _, keys in numbers), "each change changes the document"
    assert not any(keys[-1] in ("name", "title", "notes", "ours") for _, _, keys in numbers)


def test_the_mutations_of_the_source_name_lines_and_tests_that_are_there() -> None:
    for each in mutations.LINES:
        text = (ROOT / "src" / "polytask" / each.file).read_text(encoding="utf-8")
        assert text.count(each.old) == 1, each
        file, _, chosen = each.tests.partition(" -k ")
        tests = (ROOT / file).read_text(encoding="utf-8")
        for word in set(chosen.strip("'").split()) - {"and", "or", "not"}:
            assert re.search(rf"def test_\w*{word}", tests), each
    assert len({(each.file, each.change) for each in mutations.LINES}) == len(mutations.LINES)


def test_the_page_lists_every_mutation_and_no_other_and_none_survives() -> None:
    outcomes = mutations.kept()
    assert [each.mutation for each in outcomes] == mutations.LINES, "run: python bench/mutations.py --write"
    assert [each for each in outcomes if each.survives] == []
    assert part("source") == mutations.drawn_source(outcomes), "run: python bench/mutations.py --write"


def test_every_test_that_the_page_names_is_there() -> None:
    for each in mutations.kept():
        file, _, function = each.noticed_by.partition("::")
        assert not file or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), each
