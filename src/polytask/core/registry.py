"""Registries of components, each filled by its decorator; families of settings classes among them.

    loss = Family("loss", "losses", methods=("__call__",))

    @loss
    class OrdinalLogLoss:
        \"\"\"Errors far from the right class cost more. ...\"\"\"
        input_field = "logits"
        alpha: float = 1.5
        \"\"\"Power of the distance between classes.\"\"\"

The decorator makes the class a settings class and registers it: ours under the snake_case of its name, a
user's under its place (`my_parts:Focal`), so that the two never collide. In TOML a component is its name,
or a table with `type`; in Python it is the object. A name with a colon is a user's own
(`"my_parts:Focal"`) or another library's (`"torchjd:UPGrad"`).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from polytask.core.errors import ConfigError, PolytaskError, UnknownName, nearest, with_article
from polytask.core.settings import problem, settings, to_table
from polytask.core.user_modules import LIBRARIES, load_module

T = TypeVar("T")
M = TypeVar("M")
Reader = Callable[[str, Mapping[str, Any]], Any]
Methods = tuple[str | tuple[str, ...], ...]
"""What a member must define; one of those in an inner tuple."""


def reference_of(module: str, qualname: str, name: str) -> str:
    """Return what a config calls a component: ours by its name, a user's by its place."""
    return name if module.partition(".")[0] == "polytask" else f"{module}:{qualname}"


def snake_case(name: str) -> str:
    """Return `PCGrad` as "pcgrad", `OrdinalLogLoss` as "ordinal_log_loss", `SimCSE` as "sim_cse"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Registry(Generic[M]):
    """Components of one kind, by what a config calls them."""

    all: ClassVar[dict[str, Registry[Any]]] = {}

    def __init__(self, name: str, plural: str) -> None:
        self.name, self.plural = name, plural
        self.members: dict[str, M] = {}
        Registry.all[plural] = self

    def source(self, member: M) -> Any:
        """Return the class or function that a member was made from."""
        return member

    def aliases(self, member: M) -> tuple[str, ...]:
        """Return other words for a member, by which a wrong name may be meant."""
        return ()

    def add(self, reference: str, member: M) -> None:
        """Register a member; the same place again replaces it, as when a notebook's cell is run again."""
        if reference in self.members:
            taken, newcomer = self.source(self.members[reference]), self.source(member)
            if (taken.__module__, taken.__qualname__) != (newcomer.__module__, newcomer.__qualname__):
                raise ConfigError(f'{self.name} "{reference}" is registered already, by {taken.__module__}')
        self.members[reference] = member

    def discover(self, package: str) -> None:
        """Import every module of a package, so that a new file is all that a component needs."""
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{package}.{module.name}")

    def exports(self, package: str) -> dict[str, Any]:
        """Return the classes or functions of the components that a package defines, by their names."""
        members = [self.source(member) for member in self.members.values()]
        return {cls.__name__: cls for cls in members if cls.__module__.startswith(package + ".")}

    def exported(self, package: str, name: str) -> Any:
        """Return one of `exports`: what `pk.losses.CrossEntropy` stands for."""
        known = self.exports(package)
        if name not in known:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{nearest(name, known)}")
        return known[name]

    def hint(self, name: str) -> str:
        """Return '; did you mean "x"?' for the member whose name, or another word for it, is near."""
        words = {word: reference for reference, member in self.members.items()
                 for word in self.aliases(member)}
        return nearest(name, self.members, words)

    def find(self, name: str) -> M:
        """Return the member registered as `name`, or imported from "module:Class"."""
        if name in self.members:
            return self.members[name]
        if ":" in name:
            return self._imported(name)
        raise UnknownName(f'"{name}" is not {with_article(self.name)}{self.hint(name)}'
                          f" (expected one of {', '.join(sorted(self.members))})")

    def _imported(self, name: str) -> M:
        module = load_module(name)
        attribute = name.partition(":")[2]
        component: Any = module
        for part in attribute.split("."):
            component = getattr(component, part, None)
        for member in self.members.values():
            if component is not None and self.source(member) is component:
                return member
        if module.__name__ == "__main__":
            raise UnknownName(f'"{name}": was defined in a notebook or script, which cannot be '
                              'imported here; move it to a file, such as my_parts.py, and name it '
                              f'"my_parts:{attribute}"')
        own = [self.source(member).__name__ for member in self.members.values()
               if self.source(member).__module__ == module.__name__]
        plain = "" if component is None else f", only something without the decorator @pk.{self.name}"
        raise UnknownName(f'"{name}": {module.__name__} has no {self.name} {attribute!r}'
                          f"{plain or nearest(attribute, own)}")

    def describe(self) -> list[dict[str, Any]]:
        """Return a row for each member: its name, what it does, and what else is worth knowing."""
        raise NotImplementedError


class Family(Registry[type]):
    """A registry of settings classes: its name, what every member must offer, and its members.

    methods: what a class must define itself; ("a", "b") among them asks for one of the two. base: gives
    what a member does not define.
    """

    def __init__(self, name: str, plural: str, methods: Methods, base: type | None = None) -> None:
        super().__init__(name, plural)
        self.methods, self.base = methods, base
        self.readers: dict[str, Reader] = {}

    @dataclass_transform(kw_only_default=True, frozen_default=True)
    def __call__(self, cls: type[T]) -> type[T]:
        """Register a class: it becomes a frozen settings class named in snake_case."""
        name = cls.__dict__.get("name") or snake_case(cls.__name__)
        if missing := self._missing(cls):
            raise ConfigError(f'{self.name} "{name}" lacks {missing}')
        self._complete(cls)
        cls.name = name  # type: ignore[attr-defined]
        cls.reference = reference_of(cls.__module__, cls.__qualname__, name)  # type: ignore[attr-defined]
        component = settings(cls)
        self.add(cls.reference, component)  # type: ignore[attr-defined]
        return component

    def aliases(self, member: type) -> tuple[str, ...]:
        return (member.name, member.__name__)  # type: ignore[attr-defined]

    def _missing(self, cls: type) -> str:
        """Return the methods that a class should define and does not, in words."""
        # Through the classes themselves: every class object has a `__call__`, its metaclass's. What the
        # family's own base gives is what the class is asked for.
        names = {name for base in cls.__mro__ if base not in self._bases() for name in vars(base)}
        wanted = [(method,) if isinstance(method, str) else method for method in self.methods]
        return ", ".join(" or ".join(f'"{name}"' for name in one) for one in wanted if not names & {*one})

    def _bases(self) -> tuple[type, ...]:
        return self.base.__mro__ if self.base else (object,)

    def _complete(self, cls: type) -> None:
        """Give a class the fields and methods of the family's base that it does not define."""
        for base in self._bases()[:-1]:
            fields, own = inspect.get_annotations(base), inspect.get_annotations(cls)
            cls.__annotations__ = {**own, **{key: kind for key, kind in fields.items() if key not in own}}
            for attribute, value in vars(base).items():
                if not attribute.startswith("__") and not hasattr(cls, attribute):
                    setattr(cls, attribute, value)

    def reads(self, prefix: str, reader: Reader) -> None:
        """Let names of the form "prefix:rest" be read by `reader(rest, fields)`."""
        self.readers[prefix] = reader
        LIBRARIES.add(prefix)

    def read(self, value: Any) -> Any:
        """Return the component that `value` says: an object, a name, or a table with `type`."""
        if any(isinstance(value, member) for member in self.members.values()):
            return value
        fields = {"type": value} if isinstance(value, str) else value
        if not isinstance(fields, Mapping) or not isinstance(fields.get("type"), str):
            raise problem(f"found {value!r}, expected the name of {with_article(self.name)} or a table "
                          f'with "type" (expected one of {", ".join(sorted(self.members))})')
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
        """Return a row for each member: name, fields with their defaults and docs, first line, source."""
        return [describe(self.members[name]) for name in sorted(self.members)]


def describe(cls: type) -> dict[str, Any]:
    """Return a component class as data, read from its fields and docstring."""
    doc = inspect.getdoc(cls) or ""
    return {"name": cls.name, "reference": cls.reference,  # type: ignore[attr-defined]
            "doc": doc.split("\n\n")[0].replace("\n", " "),
            "source": section(doc, "Source"), "fields": describe_fields(cls)}


def describe_fields(cls: type) -> list[dict[str, Any]]:
    """Return a row for each field of a settings class: name, type, default, doc."""
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
    match = re.search(rf"^{title}: (.+?)(?=\n\n|\n[A-Z][a-z]+: |\Z)", doc, re.MULTILINE | re.DOTALL)
    return " ".join(match.group(1).split()) if match else ""
