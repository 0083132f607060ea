"""docs/coverage.md is whole: every technique has a test function marked with it, or says why not."""

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


def test_the_188_of_the_checklist_and_the_six_that_it_lacks_are_there_each_once() -> None:
    ids = [id for id, *_ in page.techniques()]
    counts = {"M": 46, "G": 41 + 2, "T": 42 + 4, "P": 29, "S": 30}
    assert ids == [f"{letter}-{n}" for letter, count in counts.items() for n in range(1, count + 1)]
    assert all(name for _, name, _ in page.techniques())


def test_each_has_a_test_or_a_reason_of_a_known_kind_and_not_both() -> None:
    own = page.tests()
    for id, _, why in page.techniques():
        assert bool(why) != (id in own), f"{id}: {why or 'no test is marked with it'} {own.get(id, '')}"
        assert not why or why.partition(": ")[0] in page.KINDS, f"{id}: {why}"


def test_marks_and_places_name_known_ids() -> None:
    known = {id for id, *_ in page.techniques()}
    assert set(page.places()) <= known
    assert set(page.tests()) <= known


def test_links_lead_to_files() -> None:
    for link in set(re.findall(r"\]\(\.\./([^)]+)\)", page.page())):
        assert (ROOT / link).is_file(), link


def test_what_is_built_is_named_where_it_is() -> None:
    where = page.places()
    assert [id for id, _, why in page.techniques() if not why and id not in where] == []
