"""Settings: frozen, keyword-only dataclasses that refuse unknown keys and report all mistakes at once.

A settings class is pydantic's dataclass with one addition: a key it does not know is reported with
the nearest one it does, and beside it every other mistake of the same table.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from polytask.core.errors import ConfigError, nearest, same_meaning

T = TypeVar("T")

# Parts of pydantic's locations that say which type of a union was tried.
_BRANCH = re.compile(r"(function-|constrained-|literal\[|dict\[|tuple\[|(int|float|str|bool)$)")

_EXPECTED = re.compile(
    r"(?P<found>found .*?, expected )(?P<expected>.*?)(?P<hint>; did you mean .*)?", re.DOTALL)

# A list in TOML is a tuple here, and `arbitrary` admits protocols and tensors as field types.
_CONFIG = ConfigDict(
    extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True, allow_inf_nan=False
)

# What pydantic calls by Python's names, in TOML's.
_IN_TOML = {"tuple_type": "a list", "list_type": "a list", "dict_type": "a table",
            "mapping_type": "a table", "dataclass_type": "a table", "model_type": "a table",
            "int_parsing": "a whole number", "int_type": "a whole number", "float_parsing": "a number",
            "float_type": "a number", "string_type": "a string", "bool_parsing": "true or false",
            "bool_type": "true or false"}


def _schema(cls: Any, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    def validate(value: Any, inner: Any) -> Any:
        if not isinstance(value, Mapping):
            return inner(value)
        known = keys_of(cls)
        errors = [_unknown(key, cls) for key in value if key not in known]
        try:
            value_of_known = inner({key: value[key] for key in value if key in known})
        except ValidationError as error:
            errors += [_again(detail) for detail in error.errors(include_url=False)]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return value_of_known

    return core_schema.no_info_wrap_validator_function(validate, _without_booleans(handler(source)))


def _without_booleans(schema: Any) -> Any:
    """Return a schema whose numbers refuse true and false, which pydantic takes for 1 and 0."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_without_booleans, schema))
    if not isinstance(schema, dict) or schema.get("function", {}) in (_WHOLE, _NUMBER):
        return schema
    if (kind := schema.get("type")) in ("int", "float"):
        check = _WHOLE if kind == "int" else _NUMBER
        return {"type": "function-before", "function": check, "schema": schema}
    return {key: inner if key in _NO_SCHEMAS else _without_booleans(inner) for key, inner in schema.items()}


def _no_boolean(expected: str) -> core_schema.NoInfoValidatorFunctionSchema:
    def refuse(value: Any) -> Any:
        if isinstance(value, bool):
            raise problem(f"found {in_toml(value)}, expected {expected}")
        return value

    return {"type": "no-info", "function": refuse}


_WHOLE, _NUMBER = _no_boolean("a whole number"), _no_boolean("a number")
# Keys of pydantic's schemas whose values may look like one.
_NO_SCHEMAS = ("default", "metadata", "expected", "serialization")


def in_toml(value: Any) -> str:
    """Return a value as an error shows it: booleans and dates as they are written, others as in Python."""
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _unknown(key: str, cls: Any) -> InitErrorDetails:
    known = keys_of(cls)
    hint = _in_another_table(key, cls) or nearest(key, known) or f"; expected one of {', '.join(known)}"
    return _custom(f"is not a setting{hint}", (key,), None)


def _in_another_table(key: str, cls: Any) -> str:
    """Return a hint at the table below this one that has the key under its own or a former name, or ''."""
    for field, about in cls.__pydantic_fields__.items():
        inner = about.annotation
        if not hasattr(inner, "__pydantic_fields__"):
            continue
        here, there = keys_of(cls), keys_of(inner)
        if name := same_meaning(key, there, here):
            return f'; did you mean "{key_of(cls, field)}.{name}"?'
    return ""


def _again(error: Any) -> InitErrorDetails:
    """Turn one of pydantic's errors into ours, its location kept."""
    if error["type"] == "polytask":
        return _custom(error["msg"], error["loc"], error["input"])
    if error["type"] == "missing":
        return _custom("is missing", error["loc"], None)
    if error["type"] == "too_short":
        return _custom(f"is empty, expected at least {error['ctx']['min_length']}", error["loc"], None)
    if error["type"] in _IN_TOML:
        text = f"found {in_toml(error['input'])}, expected {_IN_TOML[error['type']]}"
        return _custom(text, error["loc"], error["input"])
    expected = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    if expected == error["msg"].removeprefix("Value error, "):
        return _custom(expected, error["loc"], error["input"])
    hint = ""
    if error["type"] == "literal_error" and not isinstance(error["input"], bool):
        allowed = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
        hint = nearest(str(error["input"]), allowed.split(", "))
    return _custom(f"found {in_toml(error['input'])}, expected {expected}{hint}", error["loc"],
                   error["input"])


def _custom(text: str, loc: tuple[int | str, ...], value: Any) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("polytask", "{text}", {"text": text}), loc=loc, input=value
    )


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a settings class: frozen, keyword-only, validated, unknown keys refused."""
    cls.__get_pydantic_core_schema__ = classmethod(_schema)  # type: ignore[attr-defined]
    settings_class: Any = pydantic_dataclass(cls, config=_CONFIG, kw_only=True, frozen=True)
    plain_init = settings_class.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        known = keys_of(settings_class)
        if strange := [_unknown(key, settings_class) for key in kwargs if key not in known]:
            raise tell(ValidationError.from_exception_data(settings_class.__name__, strange), cls.__name__)
        try:
            plain_init(self, *args, **kwargs)
        except ValidationError as error:
            raise tell(error, cls.__name__) from None

    settings_class.__init__ = __init__
    return settings_class  # type: ignore[no-any-return]


def key_of(cls: Any, name: str) -> str:
    """Return the key of a field in tables: its alias where it has one (a method has the name)."""
    return cls.__pydantic_fields__[name].alias or name


def keys_of(cls: Any) -> list[str]:
    """Return the keys that a settings class knows."""
    return [key_of(cls, field.name) for field in dataclasses.fields(cls) if field.init]


def problem(text: str) -> PydanticCustomError:
    """Return an error to raise inside a validator; its location is added by pydantic."""
    return PydanticCustomError("polytask", "{text}", {"text": text})


def _as_one(messages: list[str]) -> str:
    """Return what a value may be in one sentence, or the first message where they say unlike things."""
    found = [_EXPECTED.fullmatch(message) for message in messages]
    if len({each and each["found"] for each in found}) > 1 or found[0] is None:
        return messages[0]
    expected = dict.fromkeys(each["expected"] for each in found if each)
    hint = next((each["hint"] for each in found if each and each["hint"]), "")
    return f"{found[0]['found']}{', or '.join(expected)}{hint}"


def tell(error: ValidationError, where: str, root: str = "") -> ConfigError:
    """Turn pydantic's errors into one sentence each: "where: dotted.key what", or without the where."""
    by_path: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False):
        entry = detail if detail["type"] == "polytask" else _said(detail)
        loc = tuple(part for part in detail["loc"] if not _BRANCH.match(str(part)))
        path = ".".join(str(part) for part in ((root, *loc) if root else loc))
        by_path.setdefault(path, []).append((detail["type"], entry["msg"]))
    # A value that may be of several types has an error for each: those of its own type are meant.
    chosen = {path: _as_one([msg for kind, msg in entries if not kind.endswith("_type")]
                            or [entries[0][1]])
              for path, entries in by_path.items()
              if not any(other.startswith(f"{path}.") for other in by_path)}
    before = f"{where}: " if where else ""
    return ConfigError(f"{before}{path} {msg}" if path else f"{before}{msg}"
                       for path, msg in chosen.items())


def _said(error: Any) -> Any:
    restated = ValidationError.from_exception_data("x", [_again(error)])
    return restated.errors(include_url=False)[0]


def from_table(cls: type[T], table: Mapping[str, Any], where: str, root: str = "") -> T:
    """Build settings of `cls` from a table; raise `ConfigError` that tells every mistake."""
    try:
        return TypeAdapter(cls).validate_python(dict(table))
    except ValidationError as error:
        raise tell(error, where, root) from None


def readable_part(cls: type[T], table: Mapping[str, Any]) -> tuple[T | None, list[list[str]]]:
    """Return the settings of a table that has mistakes, and the paths of what was left out to read it.

    What is left out is a key that is unknown or has a wrong value, and a table that lacks a key. None: even
    so it cannot be read.
    """
    rest = copy.deepcopy(dict(table))
    left_out: list[list[str]] = []
    for _ in range(4):  # a value in place of a removed one may be wrong as well
        try:
            return TypeAdapter(cls).validate_python(rest), left_out
        except ValidationError as error:
            paths = [_innermost_key(rest, detail["loc"]) for detail in error.errors(include_url=False)]
            if [] in paths:
                return None, left_out
            for path in sorted(paths, key=len, reverse=True):
                if path not in left_out:
                    left_out.append(path)
                    _remove(rest, path)
    return None, left_out


def _innermost_key(table: Mapping[str, Any], loc: Sequence[int | str]) -> list[str]:
    """Return the path of the innermost key of a table on the way to `loc`; [] without one."""
    here: Any = table
    path: list[str] = []
    innermost: list[str] = []
    for part in loc:
        if isinstance(here, dict) and part in here:
            path = [*path, str(part)]
            innermost = path
        elif not (isinstance(here, list) and isinstance(part, int) and part < len(here)):
            continue  # which type of a union was tried; or a key that is missing
        else:
            path = [*path, str(part)]
        here = here[part]
    return innermost


def _remove(table: Any, path: Sequence[str]) -> None:
    for key in path[:-1]:
        table = table[int(key) if isinstance(table, list) else key]
    del table[path[-1]]


def to_table(value: Any) -> Any:
    """Return settings as plain tables, lists and scalars; fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = getattr(value, "table", None)
        if callable(own):
            return own()
        name = getattr(type(value), "reference", None)
        table: dict[str, Any] = {"type": name} if isinstance(name, str) else {}
        for field in dataclasses.fields(value):
            entry = to_table(getattr(value, field.name))
            if entry is not None:
                table[key_of(type(value), field.name)] = entry
        return table
    if isinstance(value, Mapping):
        return {str(key): to_table(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [to_table(entry) for entry in value]
    if hasattr(value, "__fspath__"):
        return str(value)
    return value
