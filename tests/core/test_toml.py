"""TOML in and out: round trips, overrides, and what exhausts or breaks a reader in one sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.config import Run
from polytask.core.errors import ConfigError
from polytask.core.toml import (
    DEEPEST,
    MOST_BYTES,
    override,
    read_toml,
    refuse_other_kind,
    value_of,
    write_toml,
)

EXTREMES = {
    "deep lists": ("a = " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
    "a few lists too many": ("a = " + "[" * 60 + "]" * 60, f"is nested more than {DEEPEST} deep"),
    "deep tables": ("a = " + "{b = " * 3000 + "1" + "}" * 3000, "is nested too deeply"),
    "a key of 2,000 dots": (".".join("k" * 2001) + " = 1", f"is nested more than {DEEPEST} deep"),
    "a table of 2,000 dots": (f"[{'.'.join('k' * 2001)}]\nx = 1", f"is nested more than {DEEPEST} deep"),
    "5,000 digits": ("seed = " + "9" * 5000, "holds an integer of thousands of digits, expected one of 64"),
    "a huge hexadecimal": ("seed = 0x" + "f" * 5000, "seed: found an integer of 20000 bits, expected one"),
    "65 bits": (f"train.seed = {2**64}", "train.seed: found an integer of 65 bits, expected one of at"),
}


@pytest.mark.parametrize(("text", "said"), EXTREMES.values(), ids=EXTREMES)
def test_extreme_configs_are_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    for read in (read_toml, Run.from_toml):
        with pytest.raises(ConfigError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and said in message
        assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize(("assignment", "said"), [
    ("a=" + "[" * 5000, "--set [[["), ("a=" + "[" * 60 + "]" * 60, "--set a: "),
    ("seed=" + "9" * 5000, "holds an integer of thousands of digits"),
    (f"seed={2**63}", "--set seed: value: found an integer of 64 bits"),
    (".".join("k" * 2001) + "=1", "has 2,001 parts, expected at most 32"),
    ("x" * 500, "expected dotted.key=value"),
    ("seed=5\nother=3", r"--set: found a line break in '5\nother=3', expected one value"),
    ("x={a = 1}\n[y]", "found a line break"), ("x=two\rlines", "found a line break"),
    ("train..epochs=5", "--set train..epochs: has an empty part"), ('a."".b=1', "has an empty part"),
    ('a."\\q".b=1', r'--set a."\q".b: is not a key of TOML: Unescaped'),
])
def test_extreme_assignments_are_one_sentence(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override({}, [assignment])
    assert said in str(caught.value) and len(str(caught.value)) < 300


def test_the_largest_integers_of_toml_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f"a = {2**63 - 1}\nb = {-(2**63)}\nc = true")
    assert read_toml(path) == {"a": 2**63 - 1, "b": -(2**63), "c": True}


@pytest.mark.parametrize(("content", "said"), [
    (b"a = [1,\n2\nb = 3", r"is not valid TOML: .*line 3"), (b"a = '\xff'", "is not UTF-8 text"),
    (b"#" * (MOST_BYTES + 1), "has more than 16,777,216 bytes, expected a config"),
])
def test_what_is_not_toml_is_reported(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_toml(path)


def test_what_is_not_a_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder, expected a TOML file"):
        read_toml(tmp_path)
    with pytest.raises(ConfigError, match="there is no such file; `polytask init DATA --out FILE` writes"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "mine.toml").touch()
    with pytest.raises(ConfigError, match=r'there is no such file; did you mean "mine\.toml"'):
        read_toml(tmp_path / "mnie.toml")
    (tmp_path / "rows.csv").write_text("text,label\nhello,1\n")
    with pytest.raises(ConfigError, match=r"not valid TOML.*`polytask init .*rows\.csv --out FILE`"):
        read_toml(tmp_path / "rows.csv")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="is a device or a pipe"):
        read_toml(tmp_path / "endless.toml")


@pytest.mark.parametrize(("text", "expected", "verb"), [
    ("[tasks.a]\n", "study", "train"), ("[tasks.a]\n", "sweep", "train"),
    ("[[rows]]\n", "config", "compare"), ("[[rows]]\n", "sweep", "compare"),
    ("[parameters]\n", "config", "sweep"), ("[parameters]\n", "study", "sweep")])
def test_the_file_of_another_verb_names_that_verb(
    text: str, expected: str, verb: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"expected a {expected}; to run it: polytask {verb} "):
        refuse_other_kind(read_toml(path), path, expected)
    refuse_other_kind({"rows": [], "parameters": {}, "tasks": {}}, path, expected)  # a mistake of its own


def test_a_mark_of_utf8_and_lines_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b'\xef\xbb\xbfa = 1\r\nb = """x\r\ny"""\r\n')
    assert read_toml(path) == {"a": 1, "b": "x\ny"}
    assert os.path.getsize(path) > 0


@pytest.mark.parametrize(("text", "value"), [
    ("3", 3), ("1e-4", 1e-4), ("true", True), ("[1, 2]", [1, 2]), ("pcgrad", "pcgrad"),
    ("runs/x", "runs/x"),
    ('"3"', "3"), ("{ a = 1 }", {"a": 1}), ("", ""), ("5#x.csv", "5#x.csv"), ("'a' # b", "'a' # b"),
    ("C#", "C#"), ('"a # b"', "a # b"), ("[1, # one\n2]", [1, 2]), ("1,", "1,"), ("5]#", "5]#"),
])
def test_values_are_toml_or_bare_text(text: str, value: Any) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(("assignment", "table"), [
    ('tasks."sst".limit=5', {"tasks": {"sst": {"limit": 5}}}),
    ('a."b.c=d".e=1', {"a": {"b.c=d": {"e": 1}}}), (r'"a\"b"=1', {'a"b': 1}), ("'a.b'=1", {"a.b": 1}),
    ("a.o'brien.b='c=d'", {"a": {"o'brien": {"b": "c=d"}}}), ("my task.b = x", {"my task": {"b": "x"}}),
])
def test_a_part_of_a_key_in_quotes_is_read_as_in_toml(assignment: str, table: dict[str, Any]) -> None:
    assert override({}, [assignment]) == table


def test_an_index_is_of_plain_digits() -> None:
    assert override({"a": ["x", "y"]}, ["a.1=z"]) == {"a": ["x", "z"]}
    for index in ("²", "٣", "-1", "2"):
        with pytest.raises(ConfigError, match=f"a.{index}: found '{index}', expected an index below 2"):
            override({"a": ["x", "y"]}, [f"a.{index}=z"])


scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
tables = st.recursive(
    st.dictionaries(st.text(max_size=8), scalars, max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=8), inner | st.lists(inner, max_size=3), max_size=3),
    max_leaves=12)


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(table=tables)
def test_any_table_is_read_as_it_was_written(
    table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_text(write_toml(table), encoding="utf-8", newline="")
    assert read_toml(path) == table
