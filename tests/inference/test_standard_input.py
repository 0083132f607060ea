"""Standard input: a text a line, or a table if it is told; never one taken for another."""

from __future__ import annotations

import gzip
import io
import sys

import pytest

from polytask.core.errors import ConfigError, DataError
from polytask.data.file_format import FileFormat
from polytask.inference.standard_input import check_kind, piped_source, typed_rows


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


@pytest.mark.parametrize(("content", "text", "rows"), [
    (b"\xef\xbb\xbfgood\r\nsay, \"hi\"\n", ("text",), [("1", ("good",)), ("2", ('say, "hi"',))]),
    ("é\t好".encode(), ("a", "b"), [("1", ("é", "好"))]), (b"", ("text",), []),
])
def test_texts_are_lines(monkeypatch: pytest.MonkeyPatch, content: bytes, text: tuple[str, ...],
                         rows: list[object]) -> None:
    piped(monkeypatch, content)
    assert list(typed_rows(text, labelled=False)) == rows


@pytest.mark.parametrize(("content", "said"), [
    (b"un caf\xe9\n", "standard input:1: is not UTF-8 text"), (b"good\n\xff\n", "standard input:2: is not"),
    (b'{"text": "good"}\n', "standard input:1: looks like JSON; give --input-format jsonl"),
    (b'[{"text": "good"}]\n', "looks like JSON; give"), (b"[\n {}\n]\n", "looks like JSON; give"),
    ("good\n".encode("utf-16"), "iconv -f utf-16"),
    ("good\n".encode("utf-16-le"), "standard input:1: holds a NUL byte"),
    (b"id,text\n1,good\n", "standard input:1: looks like the header of a table"),
    (b'"Text"\ngood\n', "looks like the header of a table"), (b"text\n", "give --input-format csv"),
    (gzip.compress(b"good\n"), "standard input: is packed with gzip, expected text; unpack it first"),
    (b'["good", "bad"]\n', "standard input:1: looks like JSON"),
])
def test_what_is_not_text_is_refused(monkeypatch: pytest.MonkeyPatch, content: bytes, said: str) -> None:
    piped(monkeypatch, content)
    with pytest.raises(DataError, match=said):
        list(typed_rows(("text",), labelled=False))


def test_a_table_is_text_if_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"id,text\n")
    assert list(typed_rows(("text",), labelled=True)) == [("1", ("id,text",))]
    with pytest.raises(ConfigError, match=r'--input-format: found "cvs".*did you mean "csv"'):
        check_kind("cvs")


def test_a_table_is_read_as_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b'id,text\n1,"so, it is"\n2\n3,good\n')
    with piped_source("csv", FileFormat()) as source:
        assert source.columns == ("id", "text")
        assert list(source.records()) == [
            (2, ["1", "so, it is"]), (3, "1 field, expected 2"), (4, ["3", "good"])]
    piped(monkeypatch, b"id,text\n1,caf\xe9\n")
    with pytest.raises(DataError, match=r"^standard input:2: is not UTF-8"), \
            piped_source("csv", FileFormat()):
        pass
    piped(monkeypatch, b'{"text": 0}\n')
    with pytest.raises(DataError, match="looks like JSON, but --input-format says csv"), \
            piped_source("csv", FileFormat()):
        pass
