"""A run whose checkpoint is another run: what goes on, what starts afresh, and that both are told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from polytask.commands.train import train
from polytask.config import Run
from polytask.training.build import Built, build

PAL = {"type": "pal", "size": 8, "heads": 2}


@pytest.fixture
def first(small_table: dict[str, Any], tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """The table of a finished run with PAL adapters, and where it is."""
    small_table["encoder"]["adapter"] = PAL
    small_table["train"] |= {"epochs": 1, "max_steps": 2}
    small_table["tasks"]["sst"]["classes"] = ["0", "1", "2", "3", "4"]
    train(Run.from_table(small_table), tmp_path / "first", quiet=True)
    return small_table, tmp_path / "first"


def again(first: tuple[dict[str, Any], Path], change: dict[str, Any]) -> tuple[Built, str]:
    table, folder = first
    table = copy.deepcopy(table)
    table["encoder"]["checkpoint"] = str(folder)
    table["encoder"] |= change.get("encoder", {})
    for name, more in change.get("tasks", {}).items():
        table["tasks"][name] = table["tasks"].get(name, {}) | more
    built = build(Run.from_table(table), quiet=True)
    return built, "\n".join(built.notes)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    held, own = a.state_dict(), b.state_dict()
    return held.keys() == own.keys() and all(torch.equal(held[key], own[key]) for key in held)


def test_everything_continues(first: tuple[dict[str, Any], Path]) -> None:
    built, notes = again(first, {})
    other, _ = again(first, {})
    assert "continues with sst, quora, sts" in notes
    assert "afresh" not in notes and "fresh head" not in notes
    assert same(built.model, other.model)
    assert any(p.abs().sum() > 0 for p in built.model.encoder.adapter.tasks["sst"].up.parameters())


def test_another_order_of_classes_is_another_head(first: tuple[dict[str, Any], Path]) -> None:
    built, notes = again(first, {"tasks": {"sst": {"classes": ["4", "3", "2", "1", "0"]}}})
    kept, _ = again(first, {})
    assert "continues with quora, sts" in notes
    assert '"sst" starts with a fresh head: its labels differ there' in notes
    assert not same(built.model.task_head("sst"), kept.model.task_head("sst"))
    assert same(built.model.task_head("quora"), kept.model.task_head("quora"))


def test_a_new_task_is_reported(first: tuple[dict[str, Any], Path]) -> None:
    table, _ = first
    _, notes = again(first, {"tasks": {"more": table["tasks"]["sst"]}})
    assert "continues with sst, quora, sts" in notes
    assert '"more" starts with a fresh head: it is not there' in notes


def test_another_head_starts_afresh(first: tuple[dict[str, Any], Path]) -> None:
    _, notes = again(first, {"tasks": {"sst": {"head": {"type": "mlp", "hidden": 4}}}})
    assert '"sst" starts with a fresh head: its head or features differ there' in notes


def test_adapters_that_do_not_go_on_are_reported(first: tuple[dict[str, Any], Path]) -> None:
    _, notes = again(first, {"encoder": {"adapter": None}})
    assert "its pal adapters are left out: encoder.adapter is not set" in notes
    _, notes = again(first, {"encoder": {"adapter": PAL | {"size": 4}}})
    assert 'the adapter of "sst" starts afresh: its sizes differ there' in notes
