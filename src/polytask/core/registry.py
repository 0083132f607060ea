"""Families of components, each a registry filled by its decorator.

    loss = Family("loss", methods=("__call__",))

    @loss
    class OrdinalLogLoss:
        \"\"\"Errors far from the right class cost more. ...\"\"\"
        input_field = "logits"
        alpha: float = 1.5
        \"\"\"Power of the distance between classes.\"\"\"

The decorator makes the class a settings class and registers it under the snake_case of its name.
In TOML a component is its name, or a table with `type`; in Python it is the object. A name with a
colon is a user's own file (`"my_parts:Focal"`) or another library's (`"torchjd:UPGrad"`).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, dataclass_transform

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from polytask.core.errors import ConfigError, PolytaskError, listed, nearest
from polytask.core.settings import problem, settings, to_table

T = TypeVar("T")
Reader = Callable[[str, Mapping[str, Any]], Any]


# Folders of the configs that were read: where their own components are.
_FOLDERS: list[str] = []


def add_search_path(folder: str | Path) -> None:
    """Let components of users' own files be found in a folder, as well as in the current one."""
    if (place := str(Path(folder).absolute())) not in _FOLDERS:
        _FOLDERS.append(place)


def searched() -> tuple[str, ...]:
    """Return the folders given to `add_search_path`."""
    return tuple(_FOLDERS)


def _reference(cls: type, name: str) -> str:
    """Return what a config calls a component: ours by its name, a user's by its place."""
    ours = cls.__module__.partition(".")[0] == "polytask"
    return name if ours else f"{cls.__module__}:{cls.__qualname__}"


def snake_case(name: str) -> str:
    """Return `PCGrad` as "pcgrad", `OrdinalLogLoss` as "ordinal_log_loss", `SimCSE` as "sim_cse"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Family:
    """One family of components: its name, what every member must offer, and its members."""

    all: ClassVar[dict[str, Family]] = {}

    def __init__(self, name: str, plural: str, methods: tuple[str, ...], base: type | None = None):
        self.name, self.plural, self.methods, self.base = name, plural, methods, base
        self.members: dict[str, type] = {}
        self.readers: dict[str, Reader] = {}
        Family.all[plural] = self

    @dataclass_transform(kw_only_default=True, frozen_default=True)
    def __call__(self, cls: type[T]) -> type[T]:
        """Register a class: it becomes a frozen settings class named in snake_case."""
        name = cls.__dict__.get("name") or snake_case(cls.__name__)
        reference = _reference(cls, name)
        self._complete(cls)
        # Through the classes themselves: every class object has a `__call__`, its metaclass's.
        missing = [method for method in self.methods
                   if not any(method in vars(each) for each in cls.__mro__)]
        if missing:
            raise ConfigError(f'{self.name} "{name}" lacks {listed(missing)}')
        taken = self.members.get(reference)
        if taken is not None and (taken.__module__, taken.__qualname__) != (
            cls.__module__, cls.__qualname__
        ):
            raise ConfigError(f'{self.name} "{name}" is registered already, by {taken.__module__}')
        cls.name = name  # type: ignore[attr-defined]
        cls.reference = reference  # type: ignore[attr-defined]
        component = settings(cls)
        self.members[reference] = component
        return component

    def discover(self, package: str) -> None:
        """Import every module of a family's package, so that a new file is all that a component needs."""
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{package}.{module.name}")

    def exports(self, package: str) -> dict[str, type]:
        """Return the classes of the components that a package defines, by their names."""
        return {member.__name__: member for member in self.members.values()
                if member.__module__.startswith(package + ".")}

    def exported(self, package: str, name: str) -> type:
        """Return one of `exports`: what `pk.losses.CrossEntropy` stands for."""
        classes = self.exports(package)
        if name not in classes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{nearest(name, classes)}")
        return classes[name]

    def _complete(self, cls: type) -> None:
        """Give a class the fields and methods of the family's base that it does not define."""
        if self.base is None:
            return
        fields = inspect.get_annotations(self.base)
        own = inspect.get_annotations(cls)
        cls.__annotations__ = {**own, **{key: kind for key, kind in fields.items() if key not in own}}
        for given, value in vars(self.base).items():
            if not given.startswith("__") and not hasattr(cls, given):
                setattr(cls, given, value)

    def reads(self, prefix: str, reader: Reader) -> None:
        """Let names of the form "prefix:rest" be read by `reader(rest, fields)`."""
        self.readers[prefix] = reader

    def find(self, name: str) -> type:
        """Return the class registered as `name`, or imported from "module:Class"."""
        if name in self.members:
            return self.members[name]
        if ":" in name:
            return self._imported(name)
        raise ConfigError(
            f'"{name}" is no {self.name}{nearest(name, self.members)}'
            f" (there are {', '.join(sorted(self.members))})"
        )

    def _imported(self, name: str) -> type:
        module_name, _, class_name = name.partition(":")
        for folder in (*searched(), str(Path.cwd())):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        try:
            module = importlib.import_module(module_name.removesuffix(".py"))
        except ModuleNotFoundError as error:
            raise ConfigError(
                f'"{name}": no module {error.name!r} in the folder you are in, beside the config, '
                "or installed"
            ) from None
        found = getattr(module, class_name, None)
        if found is None or found not in self.members.values():
            own = [member.__name__ for member in self.members.values()
                   if member.__module__ == module.__name__]
            raise ConfigError(
                f'"{name}": {module_name} has no {self.name} {class_name!r}'
                f"{nearest(class_name, own)}"
            )
        return found  # type: ignore[no-any-return]

    def read(self, value: Any) -> Any:
        """Return the component that `value` says: an object, a name, or a table with `type`."""
        if any(isinstance(value, member) for member in self.members.values()):
            return value
        fields = {"type": value} if isinstance(value, str) else value
        if not isinstance(fields, Mapping) or not isinstance(fields.get("type"), str):
            raise problem(f"found {value!r}, expected the name of a {self.name} or a table "
                          f'with "type" (there are {", ".join(sorted(self.members))})')
        fields = dict(fields)
        kind = fields.pop("type")
        prefix, _, rest = kind.partition(":")
        try:
            if rest and prefix in self.readers:
                return self.readers[prefix](rest, fields)
            cls = self.find(kind)
        except PolytaskError as error:
            raise problem(str(error)) from None
        return TypeAdapter(cls).validate_python(fields)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # `Annotated[Loss, loss]` reads a field with this family.
        return core_schema.no_info_plain_validator_function(self.read)

    def describe(self) -> list[dict[str, Any]]:
        """Return a row a member: name, fields with their defaults and docs, first line, source."""
        return [describe(self.members[name]) for name in sorted(self.members)]


def describe(cls: type) -> dict[str, Any]:
    """Return a component class as data, read from its fields and docstring."""
    doc = inspect.getdoc(cls) or ""
    return {"name": cls.name, "doc": doc.split("\n\n")[0].replace("\n", " "),  # type: ignore[attr-defined]
            "source": section(doc, "Source"), "fields": describe_fields(cls)}


def describe_fields(cls: type) -> list[dict[str, Any]]:
    """Return a row a field of a settings class: name, type, default, doc."""
    info = cls.__pydantic_fields__  # type: ignore[attr-defined]
    fields = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        required = info[field.name].is_required()
        row = {"name": field.name, "type": str(field.type), "required": required,
               "doc": " ".join((info[field.name].description or "").split())}
        if not required:
            row["default"] = to_table(info[field.name].get_default(call_default_factory=True))
        fields.append(row)
    return fields


def section(doc: str, title: str) -> str:
    """Return the paragraph of a docstring that starts with "Title: ", or ''."""
    found = re.search(rf"^{title}: (.+?)(?=\n\n|\n[A-Z][a-z]+: |\Z)", doc, re.MULTILINE | re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""
