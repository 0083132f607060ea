"""Lines of text files: their ends, their marks, and what is none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.text_lines import head_of, is_utf8, read_lines


@pytest.mark.parametrize(("content", "lines"), [
    (b"a\nb", ["a\n", "b"]), (b"a\r\nb\r\n", ["a\r\n", "b\r\n"]), (b"a\rb\r", ["a\r", "b\r"]),
    (b"\xef\xbb\xbfa\nb\rc\n", ["a\n", "b\rc\n"]), ("a\u2028b\x85\n".encode(), ["a\u2028b\x85\n"]),
    (b"", []),
])
def test_lines_keep_their_ends_and_lose_the_mark(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    for name, held in (("t", content), ("t.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(held)
        assert list(read_lines(tmp_path / name)) == lines
        assert head_of(tmp_path / name) == content


def test_the_line_of_a_wrong_byte_is_reported(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"fine\n" * 5000 + b"caf\xe9\n" + b"fine\n" * 5000)
    with pytest.raises(DataError, match=r"t:5001: is not UTF-8 text \(invalid continuation byte\)"):
        list(read_lines(tmp_path / "t"))
    assert len(list(read_lines(tmp_path / "t", "latin-1"))) == 10_001
    (tmp_path / "t.gz").write_bytes(gzip.compress(b"fine\n" * 5000)[:-9])
    with pytest.raises(DataError, match=r"t\.gz: is not a whole gzip file"):
        list(read_lines(tmp_path / "t.gz"))
    with pytest.raises(DataError, match=r"nothing: cannot be read \(No such file"):
        list(read_lines(tmp_path / "nothing"))


def test_names_of_utf_8() -> None:
    assert is_utf8("UTF8") and is_utf8("utf-8-sig") and not is_utf8("latin-1")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_named(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n', encoding=encoding)
    with pytest.raises(DataError, match=r"t\.jsonl:1: begins with NUL bytes, .* \"utf-16-le\" or"):
        list(read_lines(path))
    assert list(read_lines(path, encoding)) == ['{"text": "a"}\n']
