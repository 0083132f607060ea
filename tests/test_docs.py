"""The pages of the families are what the components themselves say, and they say enough."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from polytask.commands.list import FAMILIES, families
from polytask.config import Data, Encoder, Run
from polytask.core.registry import Family, describe, describe_fields
from polytask.learn.optimizers import Optimizer
from polytask.learn.train_settings import Train
from polytask.tasks.task import Task

DOCS = Path(__file__).parent.parent / "docs"
COMPONENTS = [(plural, cls) for plural, family in families().items() if isinstance(family, Family)
              for _, cls in sorted(family.members.items()) if cls.__module__.startswith("polytask.")]


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("reference")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("settings")


def test_the_page_of_the_settings_is_up_to_date(settings: ModuleType) -> None:
    path = DOCS / "settings.md"
    assert path.read_text(encoding="utf-8") == settings.page(), "run: python docs/settings.py"


def test_the_examples_of_the_settings_are_configs(settings: ModuleType) -> None:
    base = Run.from_table(tomllib.loads(settings.BASE))
    for toml, _ in settings.EXAMPLES.values():
        table = tomllib.loads(settings.BASE)
        for key, value in tomllib.loads(toml).items():
            table[key] = {**table.get(key, {}), **value}
        assert Run.from_table(table) != base


def test_the_python_of_the_settings_is_a_run(
    settings: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    made: dict[str, Any] = {}
    exec(settings.PYTHON, made)
    assert Run.from_table(tomllib.loads(capsys.readouterr().out)) == made["run"]


@pytest.mark.parametrize("cls", [Run, Data, Encoder, Task, Train, Optimizer], ids=lambda cls: cls.__name__)
def test_every_setting_says_what_it_is(cls: type) -> None:
    assert [field["name"] for field in describe_fields(cls) if not field["doc"]] == []


@pytest.mark.parametrize("plural", FAMILIES)
def test_the_page_of_a_family_is_up_to_date(plural: str, reference: ModuleType) -> None:
    path = DOCS / "families" / f"{plural}.md"
    made = reference.pages()[path]
    assert path.read_text(encoding="utf-8") == made, "run: python docs/reference.py"


def test_there_is_no_page_of_a_family_that_is_gone(reference: ModuleType) -> None:
    assert {path.stem for path in (DOCS / "families").glob("*.md")} == set(FAMILIES)


@pytest.mark.parametrize(("plural", "cls"), COMPONENTS, ids=lambda x: getattr(x, "name", x))
def test_a_component_says_what_it_does_from_what_and_from_where(plural: str, cls: type) -> None:
    row, doc = describe(cls), inspect.getdoc(cls) or ""
    assert row["doc"].endswith("."), "the first paragraph is a sentence"
    for title in ("Formula", "Inputs", "Source"):
        assert f"\n{title}: " in doc, f"{row['name']} has no {title}"
    assert row["source"]
    for field in row["fields"]:
        assert field["doc"], f"{row['name']}.{field['name']} has no doc"


def test_limits_and_types_are_written_in_words(reference: ModuleType) -> None:
    pages = {path.stem: text for path, text in reference.pages().items()}
    assert "| `label_smoothing` | number ≥ 0, < 1 | `0.0` |" in pages["losses"]
    assert '| `activation` | `"relu"` or `"leaky_relu"` or `"gelu"` or `"tanh"` | `"relu"` |' in (
        pages["heads"])
    assert '| `features` | list of `"u"` or `"v"` or' in pages["pairings"]
    assert "```text\n(s − y)²\n```" in pages["losses"]


def test_the_table_of_what_init_writes_is_drawn_from_the_lines_that_were_measured(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(DOCS.parent / "bench")
    defaults, page = importlib.import_module("defaults"), importlib.import_module("page")
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert text == page.placed(text, "defaults", defaults.drawn(defaults.kept())), (
        "run: python bench/defaults.py --draw")
    assert {line.task for line in defaults.kept()} <= set(defaults.SOURCES)
