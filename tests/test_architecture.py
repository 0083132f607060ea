"""Imports go one way, and what is optional is imported late and in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "polytask"
BELOW = {
    "core": {"core"},
    "model": {"core", "model"},
    "tasks": {"core", "model", "tasks"},
    "learn": {"core", "model", "tasks", "learn"},
    "measure": {"core", "model", "tasks", "measure"},
    "ship": {"core", "model", "tasks", "ship"},
    "sample": {"sample"},
}
MODULES = sorted(SOURCE.rglob("*.py"))
# Where a third-party package may be imported at all, and whether only inside functions.
CONFINED = {
    "matplotlib": ("measure/",),
    "optuna": ("measure/",),
    "onnx": ("ship/export",),
    "onnxruntime": ("ship/export",),
    "torchjd": ("learn/surgery/", "learn/weightings/"),
    "peft": ("model/adapters",),
    "transformers": ("model/backbones",),
    "datasets": ("tasks/",),
}


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, each with whether the import stands at its top level."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in ast.iter_child_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for inner in ast.walk(node):
                top.discard(id(inner))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append((node.module, id(node) in top))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    parts = path.relative_to(SOURCE).parts
    if len(parts) == 1:
        return  # the composition root knows everybody
    for name, _ in imports(path):
        if name.startswith("polytask."):
            folder = name.split(".")[1]
            assert folder in BELOW[parts[0]], f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_optional_packages_are_imported_late_and_where_they_belong(path: Path) -> None:
    place = str(path.relative_to(SOURCE))
    for name, at_top in imports(path):
        package = name.split(".")[0]
        if package in CONFINED:
            assert not at_top, f"{place} imports {name} at its top"
            assert place.startswith(CONFINED[package]), f"{place} imports {name}"


def test_core_imports_no_torch() -> None:
    for path in (SOURCE / "core").rglob("*.py"):
        assert all(name.split(".")[0] != "torch" for name, _ in imports(path)), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f"{path} is too long to hold in mind"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= 75, f"{path}: {node.name} has {size} lines"


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    banned = {"utils", "util", "helpers", "helper", "misc", "common", "base", "manager", "handlers"}
    assert not [path for path in MODULES if path.stem in banned]
