"""Writes docs/families/<plural>.md, a page a family, from the registered components themselves.

    python docs/reference.py

A component's page and what it does come from one object: its fields, their bounds and defaults, and
its docstring. A test compares the committed pages with what this would write.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from polytask.commands.list import families
from polytask.core.registry import Family, Methods, Registry, describe, describe_fields
from polytask.core.settings import key_of, to_table

FOLDER = Path(__file__).parent / "families"
OWN = Path(__file__).parent.parent / "examples" / "own_parts.py"
WORDS = {bool: "true or false", int: "integer", float: "number", str: "text", type(None): "absent"}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def pages() -> dict[Path, str]:
    """Return the text of every page."""
    return {FOLDER / f"{plural}.md": page(family) if isinstance(family, Family) else metrics_page(family)
            for plural, family in families().items()}


def metrics_page(family: Registry[Any]) -> str:
    """Return the page of the metrics."""
    ours = [row for row in family.describe()
            if family.source(family.members[row["reference"]]).__module__.startswith("polytask.")]
    rows = [f"| `{row['name']}` | {', '.join(row['kinds'])} | {row['direction']} | {row['doc']} | "
            f"{', '.join(row['aliases'])} |" for row in ours]
    return "\n\n".join([
        "# Metrics",
        "Written by `python docs/reference.py`. `metrics = [\"macro_f1\", \"roc_auc\"]` in a task's "
        "table names what is reported of it; the first is the task's score. Absent, the kind of its labels "
        "decides.",
        "\n".join(["| metric | kinds of labels | better | what it is | also called |",
                   "|---|---|---|---|---|", *rows]),
        "The positive class of `f1`, `precision`, `recall`, `roc_auc` and `average_precision` is the "
        "second of the two: with `classes = [\"no\", \"yes\"]` it is `yes`. A note beside the "
        "scores names it.",
        "The words of the last column are not names: a config that has one is told the name.",
        "## Your own",
        "A function of the predicted and the true labels, with the decorator `@pk.metric` and the kinds of "
        "labels that it serves, in a file beside the config or in the folder you are in, is named as "
        "`metrics = [\"my_file:function\"]`, and in `train.score` as `task.function`. Labels are "
        "indices of classes, numbers, or rows of 0 and 1 for several labels a row. A third "
        "parameter called `scores` is given (rows, classes): the probabilities, or what a head without "
        "them compares. Say `direction=\"lower\"` for an error; `unit=` maps the value to [0, 1] for the "
        "score that picks the best model.",
        *example(family),
    ]) + "\n"


def page(family: Family) -> str:
    """Return the page of one family."""
    own = {name: cls for name, cls in sorted(family.members.items())
           if cls.__module__.startswith("polytask.")}
    article = "an" if family.name[0] in "aeiou" else "a"
    parts = [
        f"# {family.plural.capitalize()}",
        f"Written by `python docs/reference.py`. In TOML {article} {family.name} is its name, or a "
        "table with `type` and the settings below; in Python it is the object.",
        " · ".join(f"[`{name}`](#{name})" for name in own),
        *map(component, own.values()),
        "## Your own",
        f"A class with the decorator `@pk.{family.name}`{having(family.methods)}, in a file beside the "
        'config or in the folder you are in, is named as `"my_file:ClassName"`.',
        *example(family),
    ]
    return "\n\n".join(parts) + "\n"


def example(family: Registry[Any]) -> Iterator[str]:
    """Yield the family's part of examples/own_parts.py, with the module that it builds."""
    pieces = OWN.read_text(encoding="utf-8").split("\n\n\n")
    for before, piece in pairwise(pieces):
        if piece.startswith((f"@pk.{family.name}\n", f"@pk.{family.name}(")):
            code = f"{before}\n\n\n{piece}" if before.startswith("class ") else piece
            yield ("From [examples/own_parts.py](../../examples/own_parts.py), which starts with "
                   "`import polytask as pk`:")
            yield f"```python\n{code.strip()}\n```"


def having(methods: Methods) -> str:
    """Return " and `a`, `b` or `c`"."""
    said = ", ".join(" or ".join(f"`{name}`" for name in ([method] if isinstance(method, str) else method))
                     for method in methods)
    return f" and {said}" if methods else ""


def component(cls: type) -> str:
    """Return the section of one component."""
    paragraphs = (inspect.getdoc(cls) or "").split("\n\n")
    parts = [f"## {describe(cls)['name']}", *(said for each in paragraphs for said in paragraph(each))]
    if rows := list(fields(cls)):
        parts.append("\n".join(["| setting | type | default | |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def paragraph(text: str) -> Iterator[str]:
    """Yield a paragraph of a docstring as Markdown: "Formula: …" keeps its lines."""
    title, colon, rest = text.partition(": ")
    if not colon or title not in ("Formula", "Inputs", "Source", "Departs", "Note"):
        yield text if text.startswith(" ") else flowing(text)
    elif title == "Formula":  # apart, for Markdown would read its stars and underscores
        yield "```text\n" + "\n".join(line.strip() for line in rest.splitlines()) + "\n```"
    else:
        yield f"**{title}.** {flowing(rest)}"


def flowing(text: str) -> str:
    """Return text as one line."""
    return " ".join(text.split())


def fields(cls: type) -> Iterator[str]:
    """Yield a row of the table for each setting."""
    info = cls.__pydantic_fields__  # type: ignore[attr-defined]
    for row in describe_fields(cls):
        field = info[row["name"]]
        default = "required" if field.is_required() else written(to_table(field.get_default(
            call_default_factory=True)))
        cells = [f"`{key_of(cls, row['name'])}`", kind(field.annotation) + bounds(field.metadata),
                 default, row["doc"]]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def written(value: Any) -> str:
    """Return a default as TOML writes it."""
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def kind(annotation: Any) -> str:
    """Return a type in words."""
    if hasattr(annotation, "__metadata__"):
        return kind(annotation.__origin__) + bounds(annotation.__metadata__)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(part)}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(kind(part) for part in parts if part is not type(None))
    if origin is tuple:
        several = parts[-1] is Ellipsis
        return f"list of {kind(parts[0])}" if several else f"[{', '.join(map(kind, parts))}]"
    if origin in (list, frozenset, set):
        return f"list of {kind(parts[0])}"
    if origin is not None and len(parts) == 2:
        return "table" if parts[1] is Any else f"table of {kind(parts[1])}"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def bounds(metadata: Any) -> str:
    """Return the limits of a value: " > 0, < 1"."""
    found = [f"{sign} {value:g}" for each in metadata
             for name, sign in BOUNDS.items()
             for source in (getattr(each, "metadata", None) or [each])
             if isinstance(value := getattr(source, name, None), int | float)]
    return " " + ", ".join(found) if found else ""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = pages()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    for path in set(FOLDER.glob("*.md")) - set(made):
        path.unlink()
    print(f"{len(made)} pages in {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
