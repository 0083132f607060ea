"""The user's modules: found by their file, and imported only where the user pointed.

A component that is named by its place (`my_parts:Focal`) is looked for beside the configs that were read,
in the folder you are in, and among what is installed. No folder is ever put before the standard library:
a `random.py` beside a config hides nothing, and is refused where it is named itself.

What a *folder* names (a run, a model, a study of someone's) is another matter: inside `untrusted` nothing
is imported, and the refusal lists what would have been.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from polytask.core.errors import ConfigError, PolytaskError, UntrustedCode

# Tells a worker process where its parent looks for modules: a JSON list of folders.
_VARIABLE = "POLYTASK_OWN_PARTS"
# Keys of a table whose value names components, as text or in a list.
_KEYS = frozenset({"type", "adapter", "head", "loss", "metrics", "pairing", "pooling", "regularizers",
                   "schedule", "surgery", "weighting"})
_PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:\S+")

LIBRARIES: set[str] = set()
"""Prefixes that look like a module but are not: `torchjd:` names the rules of a library."""

_folders: list[str] = json.loads(os.environ.get(_VARIABLE, "[]"))
# Folders at the end of sys.path, so that a user's module finds its neighbours there.
_appended: set[str] = set()


def add_search_path(folder: str | Path) -> None:
    """Let the user's modules be found in a folder, as well as in the current one."""
    if (place := str(Path(folder).absolute())) not in _folders:
        _folders.append(place)


def searched() -> tuple[str, ...]:
    """Return the folders in which modules are looked for, in this order."""
    opened = _OPENED.get()
    return tuple(dict.fromkeys([*_folders, str(Path.cwd()), *([str(opened.folder)] if opened else [])]))


def worker_environment() -> dict[str, str]:
    """Return the environment variables with which a child process looks where this one does."""
    return {_VARIABLE: json.dumps(searched())}


# ---- trust


@dataclass
class _Opened:
    """A folder that is being read: what it names, and whether that may be imported."""

    source: str
    folder: Path
    trust: bool
    tables: Mapping[str, Any]
    refusals: list[str] = field(default_factory=list)


_OPENED: ContextVar[_Opened | None] = ContextVar("opened", default=None)


# Whether the user allowed what folders name: --trust, trust=True.
_TRUST: ContextVar[bool] = ContextVar("trust", default=False)


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Allow or forbid folders read inside the block to bring in code, as --trust says."""
    token = _TRUST.set(trust)
    try:
        yield
    finally:
        _TRUST.reset(token)


def trusted() -> bool:
    """Whether the user allowed folders to bring in code."""
    return _TRUST.get()


@contextmanager
def untrusted(source: str | Path, tables: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Read a folder without importing anything it names, unless the user trusts it (`trusting`).

    tables: the name of each file in it → what was read from it; the refusal lists all that they name.
    Components that are registered already (the user imported or defined them) are not a danger. Raises
    `UntrustedCode` for others.
    """
    opened = _Opened(str(source), Path(source).absolute(), _TRUST.get(), tables or {})
    token = _OPENED.set(opened)
    try:
        yield
    except Exception as error:
        # What refuses a component may have become part of another message on its way here.
        if not isinstance(error, UntrustedCode):
            for sentence in opened.refusals:
                if sentence in str(error):
                    raise UntrustedCode(sentence) from None
        raise
    finally:
        _OPENED.reset(token)


def places_in(value: Any, key: str = "type") -> Iterator[str]:
    """Yield every component that a table names by its place."""
    if isinstance(value, Mapping):
        for inner, entry in value.items():
            yield from places_in(entry, str(inner))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from places_in(entry, key)
    elif (isinstance(value, str) and key in _KEYS and _PLACE.fullmatch(value)
          and value.partition(":")[0] not in LIBRARIES):
        yield value


def own_sources(table: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the file of each imported module whose components a table names."""
    digests = {}
    for name in {place.partition(":")[0].removesuffix(".py") for place in places_in(table)}:
        file = getattr(sys.modules.get(name), "__file__", None)
        with suppress(OSError):
            if file is not None:
                digests[str(name)] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return digests


def _permit(reference: str) -> None:
    """Raise `UntrustedCode` where the folder being read may not bring in code."""
    opened = _OPENED.get()
    if opened is None or opened.trust:
        return
    files = [name for name, table in opened.tables.items() if any(True for _ in places_in(table))]
    named = dict.fromkeys([reference, *places_in(list(opened.tables.values()))])
    modules = dict.fromkeys(place.partition(":")[0] for place in named)
    modules_named = ", ".join(f"{module} ({_whence(module)})"
                              for module in modules if module not in sys.modules)
    sentence = (f"{opened.source}: names code that you did not name: {', '.join(named)}"
                f"{' in ' + ', '.join(files) if files else ''}; to read it would import {modules_named}; "
                "if you trust that code, allow it with --trust (in Python: trust=True)")
    opened.refusals.append(sentence)
    raise UntrustedCode(sentence)


def _whence(module: str) -> str:
    spec = _beside(module)
    return _place(spec) if spec else "not found beside a config or in the folder you are in"


# ---- finding and importing


def load_module(reference: str) -> ModuleType:
    """Import the module of `module:Class`; raise `ConfigError` for what is none, or hides another."""
    name, _, attribute = reference.partition(":")
    name = name.removesuffix(".py")
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f'"{reference}": found {name!r} before the colon, expected the name of a module, '
                          "such as my_parts or package.my_parts (no path, and no dot in front)")
    if not all(part.isidentifier() for part in attribute.split(".")):
        inner = "; a class inside a function cannot be named, put it at the top of a file"
        raise ConfigError(f'"{reference}": found {attribute!r} after the colon, expected the name of a '
                          f"class or function{inner if '<locals>' in attribute else ''}")
    if name == "__main__":
        return sys.modules["__main__"]
    spec = _beside(name)
    if spec is not None:
        _refuse_hiding(reference, spec)
    if (loaded := sys.modules.get(name)) is not None:
        return loaded
    _permit(reference)
    with _telling(reference, name):
        return importlib.import_module(name) if spec is None else _import(spec, name)


def _beside(name: str) -> ModuleSpec | None:
    """Return what of the folders searched holds a module, or None."""
    top, *inner = name.split(".")
    for folder in searched():
        spec = PathFinder.find_spec(top, [folder])
        if spec is None:
            continue
        file = Path(folder, top, *inner)
        plain = spec.origin is None  # a folder without __init__.py: any folder of data is one
        if not plain or (inner and (file.with_suffix(".py").is_file() or (file / "__init__.py").is_file())):
            return spec
    return None


def _place(spec: ModuleSpec) -> str:
    return str(spec.origin or next(iter(spec.submodule_search_locations or ()), spec.name))


def _refuse_hiding(reference: str, spec: ModuleSpec) -> None:
    """Refuse a file whose name belongs to a module of another place."""
    top, file = spec.name, _place(spec)
    loaded = sys.modules.get(top)
    if loaded is not None:
        other = str(getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), ""))
        taken = f"the module that is imported from {other}" if other else "a module that is imported"
    elif top in sys.stdlib_module_names:
        other, taken = "", "a module of Python's standard library"
    else:
        elsewhere = importlib.util.find_spec(top)
        if elsewhere is None:
            return
        other = _place(elsewhere)
        if str(Path(other).parent) in _appended:  # a neighbour of another config's modules
            return
        taken = f"the module at {other}"
    if not other or not _same(other, file):
        raise ConfigError(f'"{reference}": {file} has the name of {taken}; rename one of them')


def _same(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()


def _import(spec: ModuleSpec, name: str) -> ModuleType:
    """Import a module from where it was found, its neighbours within reach."""
    folder = str(Path(_place(spec)).parent)
    if spec.submodule_search_locations is not None and spec.origin is not None:
        folder = str(Path(folder).parent)  # of a package: where the package is
    if folder not in sys.path:
        sys.path.append(folder)
        _appended.add(folder)
    if spec.name not in sys.modules and spec.origin is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[spec.name]
            raise
    return importlib.import_module(name)


@contextmanager
def _telling(reference: str, name: str) -> Iterator[None]:
    """Say in one sentence why a module of the user's could not be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f'"{reference}": {_where(error)}: imports {error.name!r}, which is not '
                              "installed") from error
        raise ConfigError(f'"{reference}": no module {error.name!r} in the folder you are in, beside the '
                          "config, or installed") from None
    except PolytaskError as error:
        raise ConfigError(f'"{reference}": {error}') from error
    except (Exception, SystemExit) as error:
        reason = " ".join(str(getattr(error, "msg", error)).split())
        raise ConfigError(f'"{reference}": {_where(error)}: {type(error).__name__}: {reason}') from error


def _where(error: BaseException) -> str:
    """Return the file and line of the user's that raised an error."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if "importlib" not in frame.filename and frame.filename != __file__]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "its import"
