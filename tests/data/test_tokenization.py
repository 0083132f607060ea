"""Tokens are the tokenizer's own, made once, and survive whatever happens to the cache."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, processors

from polytask.core.atomic_files import aside_folder
from polytask.core.errors import CheckpointError, StorageError
from polytask.data import tokenization
from polytask.data.cache import Cache
from polytask.data.reading import Columns
from polytask.data.tables import Column
from polytask.data.tokenization import SpecialTokens, TokenColumn, Tokenizer, token_column
from small_data import letters, read_rows, write

WORDS = ["a film", "", "It 's a lovely film with lovely performances .", "ünï 漢字", "x" * 99]


def texts_of(folder: Path, words: list[str] = WORDS) -> Column:
    lines = [f'"{word}",y,{number % 2}' for number, word in enumerate(words)]
    path = write(folder / "rows.csv", "a,b,label", *lines)
    return read_rows(path, Columns(("a", "b"), "label"), Cache(folder / "tables")).text_columns[0]


def expected(words: list[str]) -> list[list[int]]:
    plain = letters()
    plain.no_padding()
    plain.no_truncation()
    return [plain.encode(word, add_special_tokens=False).ids for word in words]


def listed(column: TokenColumn) -> list[list[int]]:
    return [column[row].tolist() for row in range(len(column))]


def test_tokens_are_the_tokenizers_own_without_specials_padding_and_truncation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenization, "_CHUNK", 2)
    source = letters()
    told: list[tuple[int, int]] = []
    made = token_column(texts_of(tmp_path), "key", Tokenizer(source), Cache(tmp_path / "cache"),
                        lambda done, total: told.append((done, total)))
    assert listed(made) == expected(WORDS) == listed(Tokenizer(source).column(WORDS))
    assert made.lengths.tolist() == [len(ids) for ids in expected(WORDS)]
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert source.truncation is not None and source.padding is not None  # the caller's is untouched


def test_a_second_start_does_not_tokenize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, cache = texts_of(tmp_path), Cache(tmp_path / "cache")
    token_column(texts, "key", Tokenizer(letters()), cache)
    monkeypatch.setattr(Tokenizer, "encode", lambda *_: pytest.fail("tokenized again"))
    assert listed(token_column(texts, "key", Tokenizer(letters()), cache)) == expected(WORDS)


def test_another_tokenizer_or_file_has_other_tokens(tmp_path: Path) -> None:
    texts, cache = texts_of(tmp_path), Cache(tmp_path / "cache")
    first = token_column(texts, "key", Tokenizer(letters()), cache)
    cased = letters()
    cased.add_tokens(["film"])
    assert listed(token_column(texts, "key", Tokenizer(cased), cache)) != listed(first)
    other = texts_of(tmp_path / "other", ["b", *WORDS[1:]])
    second = token_column(other, "other", Tokenizer(letters()), cache)
    assert listed(second) == expected(["b", *WORDS[1:]])


@pytest.mark.parametrize("name", ["ids.npy", "offsets.npy"])
@pytest.mark.parametrize("size", [0, 40, 128, -4])
def test_a_truncated_cache_is_built_again(tmp_path: Path, name: str, size: int) -> None:
    texts, cache = texts_of(tmp_path), Cache(tmp_path / "cache")
    token_column(texts, "key", Tokenizer(letters()), cache)
    (path,) = (tmp_path / "cache").rglob(name)
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)
    assert listed(token_column(texts, "key", Tokenizer(letters()), cache)) == expected(WORDS)
    assert listed(token_column(texts, "key", Tokenizer(letters()), cache)) == expected(WORDS)


@pytest.mark.parametrize("name", ["cells.npy", "offsets.npy", "lines.npy", "table.json"])
def test_a_truncated_table_is_parsed_again(tmp_path: Path, name: str) -> None:
    assert texts_of(tmp_path).texts() == WORDS
    (path,) = (tmp_path / "tables").rglob(name)
    os.truncate(path, path.stat().st_size - 5)
    assert texts_of(tmp_path).texts() == WORDS


def test_a_cache_that_cannot_be_made_is_replaced_by_a_temporary_one(tmp_path: Path) -> None:
    texts = texts_of(tmp_path)
    write(tmp_path / "file", "no folder can be made in here")
    cache = Cache(tmp_path / "file" / "cache")
    assert listed(token_column(texts, "key", Tokenizer(letters()), cache)) == expected(WORDS)
    (note,) = cache.notes
    assert str(tmp_path / "file") in note and "temporary" in note
    assert listed(token_column(texts, "two", Tokenizer(letters()), cache)) == expected(WORDS)
    assert len(cache.notes) == 1


def test_a_full_disk_is_reported_once_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, cache = texts_of(tmp_path), Cache(tmp_path / "cache")
    synced, full = os.fsync, [True]

    def fsync(handle: int) -> None:
        if full[0]:
            full[0] = all(full[1:])
            raise OSError(errno.ENOSPC, "no space left")
        synced(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    full.append(False)  # full once: the temporary folder has room
    assert listed(token_column(texts, "key", Tokenizer(letters()), cache)) == expected(WORDS)
    assert "the disk is full" in cache.notes[0]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    full[:] = [True]  # full everywhere
    with pytest.raises(StorageError, match="the disk is full"):
        token_column(texts, "key", Tokenizer(letters()), Cache(tmp_path / "another"))


def test_processes_that_build_the_same_tokens_at_once_all_get_them(tmp_path: Path) -> None:
    words = [f"word number {number}" for number in range(3000)]
    texts_of(tmp_path, words)
    letters().save(str(tmp_path / "tokenizer.json"))
    program = (
        "import sys; from pathlib import Path\n"
        "from polytask.data.tokenization import Tokenizer, token_column\n"
        "from polytask.data.cache import Cache\n"
        "from polytask.data.reading import Columns, read_file, select\n"
        "folder = Path(sys.argv[1]); cache = Cache(folder / 'cache')\n"
        "rows = select(read_file(folder / 'rows.csv', cache), Columns(('a',), 'label'))\n"
        "made = token_column(rows.text_columns[0], 'key', Tokenizer(folder), cache)\n"
        "print(len(made), int(made.ids.sum()), cache.notes)\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)],
                                stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate(timeout=120)[0] for process in started}
    ids = expected(words)
    assert said == {f"3000 {sum(map(sum, ids))} []\n"}
    kept = [path.name for path in (tmp_path / "cache" / "tokens").iterdir()]
    assert len(kept) == 1 and not kept[0].startswith(".")


def test_what_a_killed_process_left_is_swept_and_what_another_builds_is_not(tmp_path: Path) -> None:
    entries = tmp_path / "cache" / "tokens"
    left = entries / ".left.abcdefgh.aside"
    left.mkdir(parents=True)
    with aside_folder(entries / "other") as building:
        token_column(texts_of(tmp_path), "key", Tokenizer(letters()), Cache(tmp_path / "cache"))
        assert not left.exists() and building.is_dir()


def test_specials_are_what_the_tokenizer_puts_around_a_pair() -> None:
    assert Tokenizer(letters()).special_tokens == SpecialTokens((2,), (3,), (3,), 1, pad=0, unknown=1)
    roberta = letters(processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2)))
    assert Tokenizer(roberta).special_tokens == SpecialTokens((2,), (3, 3), (3,), 0, pad=0, unknown=1)
    template = letters(processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 3)]))
    assert Tokenizer(template).special_tokens == SpecialTokens((), (3,), (3,), second=1, pad=0, unknown=1)


def test_a_tokenizer_without_a_template_falls_back_on_known_names() -> None:
    bare = tokenizers.Tokenizer(models.WordLevel({"[CLS]": 4, "[SEP]": 5, "[UNK]": 0}, "[UNK]"))
    assert Tokenizer(bare).special_tokens == SpecialTokens((4,), (5,), (5,), second=1, pad=0, unknown=0)
    with pytest.raises(CheckpointError, match="no special tokens"):
        _ = Tokenizer(tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]"))).special_tokens


def test_a_tokenizer_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: the tokenizer cannot be read"):
        Tokenizer(tmp_path)
    write(tmp_path / "tokenizer.json", "{")
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        Tokenizer(tmp_path)


def test_an_empty_column_has_no_tokens(tmp_path: Path) -> None:
    assert listed(Tokenizer(letters()).column([])) == []
    texts = texts_of(tmp_path, ["", " "])
    made = token_column(texts, "key", Tokenizer(letters()), Cache(tmp_path / "cache"))
    assert listed(made) == [[], []]
    again = token_column(texts, "key", Tokenizer(letters()), Cache(tmp_path / "cache"))
    assert np.array_equal(again.offsets, [0, 0, 0])
    shutil.rmtree(tmp_path / "cache")
