"""docs/coverage.md is whole: every technique has its place and its test, or the reason why not."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("techniques", ROOT / "docs" / "techniques.py")
assert _spec is not None and _spec.loader is not None
page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(page)


def test_the_page_is_what_the_script_makes() -> None:
    assert (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8") == page.page(), "run `make docs`"


def test_all_188_are_there_each_once() -> None:
    ids = [id for id, *_ in page.techniques()]
    counts = {"M": 46, "G": 41, "T": 42, "P": 29, "S": 30}
    assert ids == [f"{letter}-{n}" for letter, count in counts.items() for n in range(1, count + 1)]
    assert all(name for _, name, _ in page.techniques())


def test_places_and_tests_exist_and_a_reason_means_no_place() -> None:
    text = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    for link in set(re.findall(r"\]\(\.\./([^)]+)\)", text)):
        assert (ROOT / link).is_file(), link
    for begin, held in page.TESTS.items():
        assert (ROOT / begin).exists(), begin
        assert (ROOT / held).is_file(), held
    where = page.places()
    assert [id for id, _, why in page.techniques() if why and id in where] == []


def test_nothing_names_an_id_that_there_is_not() -> None:
    known = {id for id, *_ in page.techniques()}
    assert set(page.places()) <= known
    assert set(page.tests()) <= known
