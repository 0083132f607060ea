"""JSON as records: what is a cell, what is refused, and with which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.formats import record_source
from polytask.data.json_records import cell
from polytask.data.tables import Nested


def records(folder: Path, text: str, name: str = "t.jsonl") -> list[object]:
    (folder / name).write_text(text)
    return list(record_source(folder / name).records())


def test_only_null_and_nan_are_missing_values() -> None:
    values = [0, False, "", 1.5, None, float("nan"), "NaN", True]
    assert [cell(value) for value in values] == ["0", "false", "", "1.5", "", "", "NaN", "true"]
    assert cell(["é", 1]) == '["é", 1]' and isinstance(cell([]), Nested) and isinstance(cell({}), Nested)


def test_what_is_not_an_object_is_refused_with_its_line(tmp_path: Path) -> None:
    good = '{"a": "x"}\n'
    found = records(tmp_path, good * 4 + '{"a": 1, "a": 2}\n[1]\n{"a"\n{"a": "\\ud800"}\n' + good)
    assert found[4:] == [
        (5, 'is not JSON (key "a" occurs twice)'), (6, "found [1], expected an object"),
        (7, "is not JSON (Expecting ':' delimiter)"),
        (8, "half of a surrogate pair, which is not a character"),
        (9, ["x"])]


def test_a_value_that_is_no_object_is_quoted_as_the_file_has_it(tmp_path: Path) -> None:
    found = records(tmp_path, '{"a": "x"}\n' * 4 + 'null\n5\n"s"\n"\\ud800"\n')
    assert [reason for _, reason in found[4:]] == [  # type: ignore[misc]
        f"found {value}, expected an object" for value in ("null", "5", '"s"', '"\\ud800"')]


def test_deep_nesting_and_endless_keys_are_refused(tmp_path: Path) -> None:
    deep = "[" * 100_000
    assert records(tmp_path, '{"a": 1}\n' * 2 + '{"a": ' + deep + "\n")[2] == (
        3, "is not JSON (nested too deeply)")
    keys = ", ".join(f'"k{n}": 1' for n in range(10_001))
    with pytest.raises(DataError, match=r"t\.jsonl:1: the objects have more than 10,000 different keys"):
        records(tmp_path, "{" + keys + "}\n")


def test_objects_that_share_a_line_are_numbered_by_their_place(tmp_path: Path) -> None:
    assert records(tmp_path, '[{"a": 1}, {"a": 2},\n {"a": [{}, {}]}]', "t.json") == [
        (1, ["1"]), (2, ["2"]), (3, ["[{}, {}]"])]
    assert record_source(tmp_path / "t.json").notes == (
        "several objects stand in one line, so rows are numbered by their place in the array, from 1",)
    apart = '[\n {"a": [{}, {}]},\n\n {"a": "}, {"}]'
    assert [line for line, _ in records(tmp_path, apart, "t.json")] == [2, 4]  # type: ignore[misc]
    assert record_source(tmp_path / "t.json").notes == ()


@pytest.mark.parametrize(("text", "said"), [
    ('{\n "a": 1\n}\n', r"t\.json:1: is not JSON \(it goes on in the next line; expected an object a line"),
    ('[["a", 1], ["b", 0]]', r't\.json:1: found \["a", 1\], expected an object; 2 of 2'),
    ("[]", r"t\.json: has no rows"), ("{}\n{}\n", r"t\.json: the objects have no keys"),
    ('[{"a": 1}\n {"a": 2}]', r"t\.json:2: is not JSON \(expected a comma"),
    ('[{"a": 1},\n{"a": 2}', r"t\.json:2: is not JSON"),
    ('[{"a": 1}]\n{"a": 2}', r"t\.json:1: is not JSON \(text after the array\)"),
    ('[{"a": 1, "a": 2}]', r't\.json:1: is not JSON \(key "a" occurs twice\)'),
])
def test_an_array_with_a_mistake_is_refused_whole(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        records(tmp_path, text, "t.json")
