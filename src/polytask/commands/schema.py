"""`polytask schema`: the JSON schema of a config, with which editors complete and check.

It is made from the settings classes themselves: every key, its type, default and doc; every component of
every family, by name or as a table with `type`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from polytask.commands.list import families
from polytask.config import Run
from polytask.core.atomic_files import write_file
from polytask.core.registry import Family
from polytask.core.settings import to_table
from polytask.metrics.registry import METRICS
from polytask.tasks.task import metric_name, several

# A custom component, by its place, or another library's.
_BY_PLACE = {"type": "string", "pattern": ":"}
# A placeholder for a component of a family, until the family is among the definitions.
_FAMILY = "family"


class _ConfigSchema(GenerateJsonSchema):
    """Pydantic's schema, with what our own validators accept."""

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        family = getattr(schema["function"]["function"], "__self__", None)
        return {_FAMILY: family.plural} if isinstance(family, Family) else {}

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        validator, inner = schema["function"]["function"], self.generate_inner(schema["schema"])
        if validator is metric_name:
            return {"anyOf": [{"enum": sorted(METRICS)}, _BY_PLACE]}
        return {"anyOf": [inner["items"], inner]} if validator is several else inner

    def encode_default(self, dft: Any) -> Any:
        return to_table(dft)


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config."""
    schema = TypeAdapter(Run).json_schema(schema_generator=_ConfigSchema)
    definitions = schema.pop("$defs")
    definitions |= {plural: _components(family) for plural, family in families().items()
                    if isinstance(family, Family)}
    whole: dict[str, Any] = _referring({**schema, "$defs": definitions})
    return {"$schema": "http://json-schema.org/draft-07/schema#", **whole, "title": "A config of polytask"}


def _components(family: Family) -> dict[str, Any]:
    """Return the schema of a component: its name, or a table with its `type` and fields."""
    tables = []
    for reference, member in sorted(family.members.items()):
        table = TypeAdapter(member).json_schema(schema_generator=_ConfigSchema)
        keys = {"type": {"const": reference}, **table.get("properties", {})}
        tables.append({**table, "properties": keys, "required": ["type", *table.get("required", [])],
                       "additionalProperties": False})
    own = {"type": "object", "properties": {"type": _BY_PLACE}, "required": ["type"]}
    return {"anyOf": [{"enum": sorted(family.members)}, _BY_PLACE, *tables, own]}


def _referring(node: Any) -> Any:
    """Return a part of the schema in which families are referred to, not repeated."""
    if isinstance(node, list):
        return [_referring(each) for each in node]
    if not isinstance(node, dict):
        return node
    if isinstance(plural := node.get(_FAMILY), str):
        return {"$ref": f"#/$defs/{plural}"}
    return {key: _referring(each) for key, each in node.items()}


def schema_text() -> str:
    """Return the schema as a file has it."""
    return json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(out: Path) -> str:
    """Write the schema to a file; return what to do with it."""
    write_file(out, schema_text())
    return (f"{out} written; a config that starts with `#:schema ./{out.name}` is completed and checked by "
            "editors with Even Better TOML or taplo")
