"""Imports go one way and never in a circle; what is optional is imported late and in one place."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "polytask"
TESTS = Path(__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

# What each package may import beside itself; a module at the top level stands for itself.
_NETWORK = {"core", "data", "model"}
_TASKS = _NETWORK | {"losses", "metrics", "tasks"}
_CONFIG = _TASKS | {"learn", "config", "validate"}
BELOW = {
    "core": set(),
    "data": {"core"},
    "model": {"core", "data"},
    "losses": _NETWORK,
    "metrics": {"core", "data"},
    "tasks": _NETWORK | {"losses", "metrics"},
    "learn": _TASKS,
    "inference": _TASKS,
    "evaluation": _TASKS | {"inference"},
    "config": _TASKS | {"learn", "validate"},
    "validate": _TASKS | {"learn"},
    "export": _TASKS | {"inference", "evaluation"},
    "sample": set(),
    "training": _CONFIG | {"inference", "evaluation", "sample"},
    "serve": _TASKS | {"inference", "evaluation"},
    "studies": _CONFIG | {"evaluation"},
    "report": _CONFIG | {"evaluation", "studies"},
    "engines": {"core"},
    "trackers": {"core"},
    "commands": {path.stem for path in SOURCE.iterdir()} - {"cli", "verbs", "__main__"},
    "output": {"core"},
    "verbs": {"core", "config", "commands"},
    "cli": {"verbs", "output"},
    "__main__": {"cli"},
}
# Where a third-party package may be imported at all; always inside a function.
CONFINED = {
    "resvg_py": ("report/plots",),
    "optuna": ("studies/",),
    "torchjd": ("learn/surgery/", "learn/weightings/"),
    "onnx": ("export/onnx", "export/int8"),
    "onnxscript": ("export/onnx",),
    "onnxruntime": ("inference/onnx_model",),
    "peft": ("model/adapters",),
    "sentence_transformers": ("export/sentence_transformers",),
    "transformers": ("model/transformers_encoder", "export/transformers",),
    "datasets": ("data/",),
    "ray": ("engines/ray_cluster",),
    "tensorboard": ("trackers/tensorboard",),
    "mlflow": ("trackers/mlflow",),
    "wandb": ("trackers/wandb",),
    "trackio": ("trackers/trackio",),
    "sqlalchemy": ("studies/shared_search",),
    "pandas": ("core/frames",),
    "IPython": ("core/progress",),
}
# Packages that one package of ours may import anywhere, as it is itself imported late.
WITHIN = {"serve": ("fastapi", "starlette", "uvicorn", "prometheus_client")}
# Where else they are looked for, to say which extra is missing.
LOOKED_FOR = {"commands/serve.py"}
# Packages whose modules each have a test file of the same name, and what a test file covers instead.
MIRRORED = {"core", "data", "learn"}
COVERED_BY = {
    "learn/schedules": "tests/contracts/test_schedules.py",
    "learn/weightings": "tests/contracts/test_weightings.py",
    "learn/surgery": "tests/contracts/test_surgeries.py",
    "learn/regularizers": "tests/contracts/test_regularizers.py",
}


@cache
def imports(path: Path, for_types: bool = False) -> tuple[tuple[str, bool], ...]:
    """Return the modules that a file imports, each with whether the import stands at its top level.

    for_types: whether imports under TYPE_CHECKING count, which are for annotations alone.
    """
    return tuple(_imports(path, for_types))


def _imports(path: Path, for_types: bool) -> Iterator[tuple[str, bool]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in ast.iter_child_nodes(tree)}
    typing_only = {id(inner) for node in ast.walk(tree)
                   if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
                   for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in typing_only and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from package import module` is an import of the module.
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if module_file(name) else node.module, id(node) in top) for name in inner)


def module_file(name: str) -> Path | None:
    """Return the file of a module of ours, or None."""
    place = SOURCE.parent.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()),
                None)


def ours(path: Path) -> set[Path]:
    """Return the files of ours that a file imports, for annotations too."""
    files = {module_file(name) for name, _ in imports(path, for_types=True)
             if name.split(".")[0] == "polytask"}
    return {file for file in files if file is not None} - {path}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if package == "__init__":
        return  # the public surface names everybody, and imports nobody before it is asked
    assert package in BELOW, f"{package} has no place in the order of imports"
    for name, _ in imports(path):
        if name.startswith("polytask."):
            other = name.split(".")[1]
            assert other == package or other in BELOW[package], f"{path} imports {name}"


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    circles = cycles({path: ours(path) for path in MODULES if path != SOURCE / "__init__.py"})
    assert [[str(path.relative_to(SOURCE)) for path in circle] for circle in circles] == []


def test_a_circle_is_found() -> None:
    a, b, c = Path("a"), Path("b"), Path("c")
    assert [set(circle) for circle in cycles({a: {b}, b: {c}, c: {b}})] == [{b, c}]
    assert cycles({a: {b, c}, b: {c}, c: set()}) == []


def cycles(graph: dict[Path, set[Path]]) -> list[list[Path]]:
    """Return the strongly connected components of more than one node (Tarjan)."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found: list[list[Path]] = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_no_class_or_alias_has_a_namesake_in_another_module() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(node, ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            # Aliases of types are in CamelCase; constants are not asked.
            for name in (name.lstrip("_") for name in names):
                if name[:1].isupper() and not name.isupper() and "_" not in name:
                    homes[name].add(str(path.relative_to(SOURCE)))
    assert {name: sorted(places) for name, places in homes.items() if len(places) > 1} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_optional_packages_are_imported_late_and_where_they_belong(path: Path) -> None:
    place = str(path.relative_to(SOURCE))
    for name, at_top in imports(path):
        package = name.split(".")[0]
        if package in CONFINED:
            assert not at_top, f"{place} imports {name} at its top"
            assert place.startswith(CONFINED[package]), f"{place} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_the_packages_of_a_server_stay_in_serve_which_is_imported_late(path: Path) -> None:
    place, own = str(path.relative_to(SOURCE)), path.relative_to(SOURCE).parts[0]
    for name, at_top in imports(path):
        for owner, packages in WITHIN.items():
            if own != owner and name.split(".")[0] in packages:
                assert place in LOOKED_FOR and not at_top, f"{place} imports {name}"
            if own != owner and name.startswith(f"polytask.{owner}."):
                assert not at_top, f"{place} imports {name} at its top"


def test_core_imports_no_torch() -> None:
    for path in (SOURCE / "core").rglob("*.py"):
        assert all(name.split(".")[0] != "torch" for name, _ in imports(path)), path


def test_two_modules_know_that_there_are_several_processes() -> None:
    knowing = {str(path.relative_to(SOURCE)) for path in MODULES
               if any(name.startswith("torch.distributed") for name, _ in imports(path))}
    assert knowing == {"learn/torch_processes.py", "learn/layer_shards.py"}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.relative_to(SOURCE).parts[0] in MIRRORED
             and not path.stem.startswith("__")], ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_module_of_core_data_and_learn_has_its_test_file(path: Path) -> None:
    place = path.relative_to(SOURCE)
    covered = COVERED_BY.get(place.parent.as_posix())
    expected = TESTS.parent / covered if covered else TESTS / place.parent / f"test_{path.stem}.py"
    assert expected.is_file(), f"{place} has no test file {expected.relative_to(TESTS.parent)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, f"{path} is too long to hold in mind"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= 75, f"{path}: {node.name} has {size} lines"


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    banned = {"utils", "util", "helpers", "helper", "misc", "common", "base", "manager", "handlers",
              "processor", "args"}
    assert not [path for path in MODULES if path.stem in banned]


# The modules that spell names of files and folders, and the strings elsewhere that only look like one.
SPELLING = {"core/paths.py", "core/encoder_paths.py", "core/cache_paths.py"}
OTHER_STRINGS = {
    "core/user_modules.py": {"__init__.py"},  # code of the user's
    "data/cache.py": {"entry"},  # a damaged entry on its way out
    "export/int8.py": {"ai.onnx"},  # a domain of operators, and the name of a logger
    "export/onnx.py": {"torch.onnx"},
    "model/flat_config.py": {"config.json"},  # in a message
    "report/page.py": {"page.js", "page.css"},  # parts of the package, like the sample
    "serve/app.py": {"page.html", "page.js", "page.css"},
}
FILE_NAME = re.compile(r"(?!/)[\w*.\[\]/-]*\w\.(json|jsonl|toml|log|csv|md|html|js|css|svg|png|txt|bin|onnx"
                       r"|db|np[yz]|safetensors)|\.lock")


def spelled_names(path: Path) -> Iterator[str]:
    """Yield the names of files and folders that a module spells: whole strings, and parts after a slash."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(getattr(part, "value", "x")) if isinstance(part, ast.Constant) else "x"
                           for part in node.values)
        if FILE_NAME.fullmatch(text):
            yield text
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):  # folder / "runs"
            parts = node.right.values if isinstance(node.right, ast.JoinedStr) else [node.right]
            yield from (part.value for part in parts if isinstance(part, ast.Constant)
                        and isinstance(part.value, str) and re.search(r"\w", part.value))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_names_of_files_and_folders_are_spelled_in_one_place(path: Path) -> None:
    place = path.relative_to(SOURCE).as_posix()
    if place not in SPELLING and not place.startswith("sample/"):
        assert set(spelled_names(path)) - OTHER_STRINGS.get(place, set()) == set()


def test_a_spelled_name_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""Reads config.json."""\na = folder / "runs"\nb = f"{x}.toml"\nc = "modules.json"\n')
    assert set(spelled_names(file)) == {"runs", "x.toml", "modules.json"}


# Names that say how a value came about and not what it is: never, and where there is little to say.
EMPTY_NAMES = {"made", "held", "told", "said", "given"}
SPARING_NAMES = {"found", "each"}


def test_variables_say_what_they_hold() -> None:
    names: list[tuple[str, str]] = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.append((node.id, f"{path}:{node.lineno}"))
            elif isinstance(node, ast.arg):
                names.append((node.arg, f"{path}:{node.lineno}"))
    assert [where for name, where in names if name in EMPTY_NAMES] == []
    sparing = [where for name, where in names if name in SPARING_NAMES]
    assert len(sparing) <= 0.004 * len(names), f"{len(sparing)} of {len(names)}: {sorted(sparing)[:20]}"


def test_no_two_test_files_outside_the_contracts_share_a_name() -> None:
    names = [path.name for path in TESTS.rglob("test_*.py") if path.parent.name != "contracts"]
    assert sorted(names) == sorted(set(names)), "pytest can import only one of two files of the same name"
