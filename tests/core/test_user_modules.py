"""Modules of the user's own: where they are found, what is refused, and that folders import nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from polytask.core import user_modules
from polytask.core.errors import ConfigError, PolytaskError, UntrustedCode
from polytask.core.user_modules import (
    add_search_path,
    load_module,
    places_in,
    searched,
    trusting,
    untrusted,
)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into a folder beside which nothing is found; forgets every module at the end."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(user_modules, "_folders", [])
    monkeypatch.setattr(user_modules, "_appended", set())
    before, path = set(sys.modules), list(sys.path)

    def make(name: str, text: str = "", folder: str = "there") -> Path:
        file = tmp_path / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield make
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")) or name.startswith("spare_"):
            del sys.modules[name]


def test_a_module_is_found_beside_a_config_and_in_the_current_folder(write: Write, tmp_path: Path) -> None:
    beside = write("beside_parts.py", "VALUE = 1")
    write("here_parts.py", "VALUE = 2", "here")
    add_search_path(beside.parent)
    assert load_module("beside_parts:X").VALUE == 1
    assert load_module("here_parts:X").VALUE == 2
    assert load_module("here_parts.py:X").VALUE == 2
    assert searched() == (str(tmp_path / "there"), str(tmp_path / "here"))


def test_nothing_is_put_before_the_standard_library(write: Write) -> None:
    before = list(sys.path)
    add_search_path(write("only_here.py").parent)
    load_module("only_here:X")
    assert sys.path[: len(before)] == before


def test_a_module_has_its_neighbours(write: Write) -> None:
    write("neighbour_of_it.py", "VALUE = 3")
    add_search_path(write("with_neighbour.py", "from neighbour_of_it import VALUE").parent)
    assert load_module("with_neighbour:X").VALUE == 3
    assert load_module("neighbour_of_it:X").VALUE == 3


def test_packages_and_folders_of_modules_are_modules_too(write: Write) -> None:
    write("pack_of_mine/__init__.py", "from pack_of_mine.inner import VALUE")
    write("pack_of_mine/inner.py", "VALUE = 4")
    add_search_path(write("plain_of_mine/module.py", "VALUE = 5").parents[1])
    assert load_module("pack_of_mine:X").VALUE == 4
    assert load_module("pack_of_mine.inner:X").VALUE == 4
    assert load_module("plain_of_mine.module:X").VALUE == 5


@pytest.mark.parametrize("name", ["random.py", "tokenizers.py", "antigravity.py", "yaml/__init__.py"])
def test_a_file_that_would_hide_another_module_is_refused_and_never_run(write: Write, name: str) -> None:
    file = write(name, "raise SystemExit('it ran')")
    add_search_path(file.parent if file.name != "__init__.py" else file.parent.parent)
    module = name.partition("/")[0].removesuffix(".py")
    with pytest.raises(ConfigError, match=f'^"{module}:Focal": .*/{name} has the name of .*; rename one'):
        load_module(f"{module}:Focal")


def test_two_configs_with_modules_of_one_name_are_distinguished(write: Write) -> None:
    add_search_path(write("parts_twice.py", "VALUE = 1", "one").parent)
    assert load_module("parts_twice:X").VALUE == 1
    user_modules._folders[:] = [str(write("parts_twice.py", "VALUE = 2", "two").parent)]
    with pytest.raises(ConfigError, match=r"two/parts_twice.py has the name of the module that is imported "
                       "from .*one/parts_twice.py"):
        load_module("parts_twice:X")


@pytest.mark.parametrize("name", [".a:x", "a..b:C", "/etc/x:C", "../up:C", "a b:C", ":C", "a-b:C", "1a:C"])
def test_what_is_not_a_dotted_name_is_refused(write: Write, name: str) -> None:
    with pytest.raises(ConfigError, match=r"before the colon, expected the name of a module, such as"):
        load_module(name)


@pytest.mark.parametrize("name", ["json:", "json:a b", "json:f.<locals>.C", "json:C:D"])
def test_what_is_not_a_class_is_refused(write: Write, name: str) -> None:
    with pytest.raises(ConfigError, match="after the colon, expected the name of a class or function"):
        load_module(name)


@pytest.mark.parametrize(("text", "said"), [
    ("x = 1\nx.y\n", r'broken_parts.py:2: AttributeError: .int. object has no attribute'),
    ("def f(:\n", "broken_parts.py:1: SyntaxError: invalid syntax"),
    ("import no_such_module_at_all\n", "broken_parts.py:1: imports 'no_such_module_at_all', which is not"),
    ("raise SystemExit(3)\n", "broken_parts.py:1: SystemExit: 3"),
])
def test_a_module_that_cannot_be_imported_says_where(write: Write, text: str, said: str) -> None:
    add_search_path(write("broken_parts.py", text).parent)
    for _ in range(2):  # no half of it is left behind
        with pytest.raises(ConfigError, match=f'^"broken_parts:X": .*{said}') as caught:
            load_module("broken_parts:X")
        assert "\n" not in str(caught.value)


def test_a_module_that_is_nowhere_is_reported(write: Write) -> None:
    with pytest.raises(ConfigError, match="no module 'nowhere_parts' in the folder you are in, beside the "
                       "config, or installed"):
        load_module("nowhere_parts:X")


def test_a_child_process_looks_where_its_parent_does(write: Write, tmp_path: Path) -> None:
    add_search_path(write("some_parts.py").parent)
    told = user_modules.worker_environment()
    code = "from polytask.core.user_modules import searched; print('\\n'.join(searched()))"
    found = subprocess.run([sys.executable, "-c", code], env={**told, "PYTHONPATH": ":".join(sys.path)},
                           cwd="/", capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(tmp_path / "there"), str(tmp_path / "here"), "/"]


# ---- trust

def test_inside_a_strangers_folder_nothing_is_imported(write: Write, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    write("spare_evil.py", f"open({str(mark)!r}, 'w').close()", "here")
    tables = {"tasks.json": {"tasks": {"a": {"head": {"type": "spare_evil:Head"}, "text": ["not:this"]}}},
              "heads/a/config.json": {"pooling": "spare_other:Pool"}}
    with pytest.raises(UntrustedCode) as caught, untrusted(tmp_path, tables):
        load_module("spare_evil:Head")
    assert not mark.exists()
    said = str(caught.value)
    assert said.count("\n") == 0
    for part in (str(tmp_path), "spare_evil:Head, spare_other:Pool in tasks.json, heads/a/config.json",
                 f"spare_evil ({tmp_path / 'here' / 'spare_evil.py'})", "spare_other (not found",
                 "--trust", "trust=True"):
        assert part in said
    assert "not:this" not in said
    with trusting(True), untrusted(tmp_path):
        load_module("spare_evil:Head")
    assert mark.exists()


def test_a_refusal_keeps_its_kind_inside_another_message(write: Write, tmp_path: Path) -> None:
    def read() -> None:
        try:
            load_module("spare_evil:Head")
        except PolytaskError as error:
            raise ConfigError(f"config.toml: tasks.a.head {error}") from None

    with pytest.raises(UntrustedCode, match=r"^[^:]*: names code"), untrusted(tmp_path):
        read()


def test_another_error_after_a_refusal_that_did_not_matter_is_its_own(write: Write, tmp_path: Path) -> None:
    def read() -> None:
        with suppress(UntrustedCode):
            load_module("spare_evil:Loss")
        raise ConfigError("something else")

    with pytest.raises(ConfigError, match=r"^something else"), untrusted(tmp_path):
        read()


def test_a_trusted_folder_may_bring_its_own_module(write: Write, tmp_path: Path) -> None:
    folder = write("spare_inside.py", "VALUE = 6", "a_run").parent
    with pytest.raises(UntrustedCode), untrusted(folder):
        load_module("spare_inside:X")
    with trusting(True), untrusted(folder):
        assert load_module("spare_inside:X").VALUE == 6
    assert str(folder) not in searched()


def test_what_is_imported_already_is_harmless(write: Write, tmp_path: Path) -> None:
    with untrusted(tmp_path):
        assert load_module("json:X") is json


def test_components_are_found_in_a_table_where_components_stand() -> None:
    table = {"train": {"schedule": "a:B", "phases": [{"surgery": {"type": "c.d:E", "every": 2}}]},
             "tasks": {"t": {"loss": ["f:G", {"type": "torchjd:UPGrad"}], "metrics": ["accuracy", "h:i"],
                             "train": "hf://x:train", "label": "j:k", "classes": ["l:m"]}}}
    import polytask.learn.surgery  # noqa: F401 (torchjd's prefix is known from there)

    assert sorted(places_in(table)) == ["a:B", "c.d:E", "f:G", "h:i"]
