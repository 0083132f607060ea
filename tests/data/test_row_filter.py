"""`where` takes rows by a column's cells, the same in a table and in a stream."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from polytask.config import Run
from polytask.core.errors import ConfigError, DataError
from polytask.data.cache import Cache
from polytask.data.dataset import load_task_data
from polytask.data.formats import record_source
from polytask.data.reading import Columns
from polytask.data.row_filter import RowFilter, leaving_out
from polytask.data.row_stream import RowStream
from small_data import read_rows, single_task, store, write

ROWS = "text,label,lang\na,1,en\nb,-,en\nc,1.0,de\nd,0,fr\n"


@pytest.mark.parametrize(("where", "kept"), [
    ({"lang": "en"}, ["a", "b"]), ({"lang": ["en", "de"], "label": {"not": ["-"]}}, ["a", "c"]),
    ({"label": 1}, ["a", "c"]), ({"label": {"not": [0, "-"]}}, ["a", "c"]), (None, ["a", "b", "c", "d"]),
])
def test_a_table_and_a_stream_take_the_same_rows(tmp_path: Path, where: Any, kept: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(ROWS)
    rows = read_rows(path, Columns(("text",), "label", where=RowFilter.of(where)), Cache(tmp_path / "c"))
    assert [texts[0] for texts in rows.texts()] == kept
    assert rows.passed_over == 4 - len(kept)
    stream = RowStream(record_source(path), ("text",), None, RowFilter.of(where))
    assert [texts[0] for _, texts in stream.rows()] == kept
    assert stream.passed_over == 4 - len(kept)


def test_codes_and_digits_with_signs_between_are_not_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,code\na,007\nb,7\nc,7.0\nd,7_0\ne,70\n")
    for where, kept in (({"code": "007"}, ["a"]), ({"code": 7}, ["b", "c"]), ({"code": 70}, ["e"])):
        stream = RowStream(record_source(path), ("text",), None, RowFilter.of(where))
        assert [texts[0] for _, texts in stream.rows()] == kept


@pytest.mark.parametrize(("value", "kept"), [(True, ["a", "c"]), ({"not": [True]}, ["b"]),
                                             ("FALSE", ["b"]), ([True, "no"], ["a", "c"])])
def test_capitals_make_no_difference_between_booleans(tmp_path: Path, value: Any, kept: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,spam\na,True\nb,False\nc,TRUE\n")
    stream = RowStream(record_source(path), ("text",), None, RowFilter.of({"spam": value}))
    assert [texts[0] for _, texts in stream.rows()] == kept


def test_a_value_that_no_file_holds_is_reported(tmp_path: Path) -> None:
    rows = [f"t {n},{n % 2},{('EN', 'de')[n % 2]},{n}" for n in range(20)]
    write(tmp_path / "train.csv", "text,label,lang,n", *rows)
    write(tmp_path / "dev.csv", "text,label,lang,n", "x,0,fr,1", "y,1,de,2")
    where = {"lang": ["en", "de", "fr"], "n": {"not": ["100", 3]}, "label": ["0", "1.0"]}
    task = load_task_data("a", single_task(where=where), store(tmp_path), 1)
    assert [note for note in task.notes if "no cell" in note] == [
        'tasks.a.where.lang: no cell of column "lang" is "en" (found "EN", "de"); did you mean "EN"?',
        'tasks.a.where.n: no cell of column "n" is "100" (found "0", "1", "2", "3", "4", "5", …); did you '
        'mean "10"?']


def test_no_row_left_and_no_such_column_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(ROWS)
    lang = 'column "lang" holds "en", "de", "fr"'
    for where, what in (({"lang": "EN"}, f'{lang}; did you mean "en"?'),
                        ({"lang": "de", "label": {"not": [1]}},
                         f'{lang}; column "label" holds "1", "-", "1.0", "0"')):
        with pytest.raises(DataError, match=re.escape(f"4 rows is what where asks for ({what})")):
            read_rows(path, Columns(("text",), where=RowFilter.of(where)), Cache(tmp_path / "c"))
    with pytest.raises(DataError, match='there is no column "language"; did you mean "lang"'):
        read_rows(path, Columns(("text",), where=RowFilter.of({"language": "it"})), Cache(tmp_path / "c"))


@pytest.mark.parametrize("column", ["label", "gold label", 'the "label"', "\u00e9tiquette"])
@pytest.mark.parametrize("value", ["-1", '"?"'])
def test_the_setting_that_leaves_a_value_out_is_one(column: str, value: str) -> None:
    assert tomllib.loads(leaving_out(column, value)) == {"where": {column: {"not": [value]}}}


@pytest.mark.parametrize(("settings", "said"), [
    ({"where": {"lang": {"nott": ["x"]}}}, 'where.lang: found "nott"; did you mean "not"'),
    ({"where": {"lang": []}}, r"where.lang: found \[\], expected a value"),
    ({"header": False}, "columns: is missing"), ({"columns": ["a"]}, "add header = false"),
    ({"header": False, "columns": ["a", "a"]}, 'columns: found "a" twice'),
    ({"encoding": "uft-8"}, 'encoding: found "uft-8", expected an encoding'),
    ({"encoding": "idna"}, 'encoding: found "idna", expected an encoding'),
    ({"encoding": "undefined"}, 'encoding: found "undefined", expected an encoding'),
    ({"encoding": "punycode"}, 'encoding: found "punycode", expected an encoding'),
    ({"encoding": "rot13"}, "does not turn bytes into"), ({"delimiter": ",,"}, 'delimiter: found ",,"'),
    ({"quoting": "all"}, "quoting"),
])
def test_settings_of_a_file_are_validated(settings: dict[str, Any], said: str) -> None:
    table = {"train": "t.csv", "text": "text", "label": "label", **settings}
    with pytest.raises(ConfigError, match=said):
        Run.from_table({"encoder": {"checkpoint": "minilm"}, "tasks": {"t": table}})
