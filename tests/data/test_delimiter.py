"""The delimiter is told from the first lines, or asked for."""

from __future__ import annotations

import pytest

from polytask.core.errors import DataError
from polytask.data.delimiter import find_delimiter, refuse_saying, sample_lines
from polytask.data.file_format import FileFormat


@pytest.mark.parametrize(("lines", "file", "delimiter"), [
    (["text,label", "a;b,0"], "t.csv", ","),
    (["text;label", "a, b;0"], "t.csv", ";"),
    (["text\tlabel", "a, b\t0"], "t.csv", "\t"),
    (["a,b\tc,d", "1,2\t3,4"], "t.tsv", "\t"),
    (["text", "so, it rained"], "t.csv", None),
    (["text", "0,so it rained", "1,all day"], "t.csv", ","),
])
def test_a_delimiter(lines: list[str], file: str, delimiter: str | None) -> None:
    assert find_delimiter(file, [f"{line}\n" for line in lines], FileFormat()) == delimiter


def test_two_that_split_equally_well_are_asked_for() -> None:
    with pytest.raises(DataError, match='delimiter = ";" or "|"'.replace("|", r"\|")):
        find_delimiter("t.txt", ["a;b|c;d\n", "1;2|3;4\n"], FileFormat())


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=;"\r\n', "SEP=;\n"])
def test_a_line_for_spreadsheets_is_not_a_header(line: str) -> None:
    with pytest.raises(DataError, match=r't\.csv:1: is not a header .* set delimiter = ";"'):
        refuse_saying("t.csv", line)
    refuse_saying("t.csv", "sep=;label\n")


def test_a_sample_ends() -> None:
    assert len(sample_lines(["a\n"] * 500)) == 200
    assert len(sample_lines(["a" * (1 << 20)] * 5)) == 2
