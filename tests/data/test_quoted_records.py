"""Lines to records: what a quote may do, and where reading goes on after one that it may not."""

from __future__ import annotations

import pytest

from polytask.core.errors import DataError
from polytask.data.quoted_records import (
    AFTER_QUOTE,
    UNCLOSED,
    QuoteTally,
    plain_records,
    quoted_records,
    without_end,
)


def read(text: str, delimiter: str | None = ",", **options: bool) -> list[object]:
    return list(quoted_records("t.csv", text.splitlines(keepends=True), delimiter, QuoteTally(), **options))


def test_a_quoted_field_holds_delimiters_line_ends_and_doubled_quotes() -> None:
    assert read('"a, b","say ""no""\r\nor yes",\n\n1,2,3') == [
        (1, ["a, b", 'say "no"\r\nor yes', ""]), (4, ["1", "2", "3"])]
    assert read('""\n"a"\r\n"b"') == [(1, [""]), (2, ["a"]), (3, ["b"])]
    assert read('"a, b"\nc, d\n', None) == [(1, ["a, b"]), (2, ["c, d"])]


def test_reading_continues_with_the_next_line_or_after_the_mistake() -> None:
    text = '"a,1\n"b",2\n"c",3\n'
    assert read(text) == [(1, AFTER_QUOTE), (2, ["b", "2"]), (3, ["c", "3"])]
    assert read(text, line_by_line=False) == [(1, f"{AFTER_QUOTE} (lines 1–2)"), (3, ["c", "3"])]
    assert read('a,1\n"b,2\nc,3\n') == [(1, ["a", "1"]), (2, UNCLOSED), (3, ["c", "3"])]
    with pytest.raises(DataError, match=r"t\.csv:2: a quote opens a field and is never closed"):
        read('a,1\n"b,2\nc,3\n', line_by_line=False)


def test_a_line_is_read_twice_at_most() -> None:
    class Counted(str):
        finds = 0

        def find(self, *args: object) -> int:  # type: ignore[override]
            Counted.finds += 1
            return str.find(self, *args)  # type: ignore[arg-type]

    lines = [Counted(line) for line in ['"a ""\n', 'b ""\n', '"c\n'] * 2000]
    list(quoted_records("t.csv", lines, ",", QuoteTally()))
    assert Counted.finds < 10 * len(lines)


def test_plain_records_know_no_quotes() -> None:
    assert list(plain_records(['"a\tb"\n', "\n", "c\r\n"], "\t")) == [(1, ['"a', 'b"']), (3, ["c"])]
    assert [without_end(line) for line in ("a\r\n", "a\n", "a\r", "a\rb\n", "a")] == [
        "a", "a", "a", "a\rb", "a"]
