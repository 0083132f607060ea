"""The reference pages that the site generates: the Python names, the commands, the folders, the components.

    python docs/site_reference.py [FOLDER]      writes them, to look at; `make docs-site` does without
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from pathlib import Path

import polytask
from polytask.core import paths

GROUPS = {
    "Verbs": ["train", "load", "evaluate", "compare", "sweep", "report", "export", "push",
              "serve"],
    "Settings": ["Run", "Data", "Encoder", "Task", "Train", "Optimizer"],
    "Models and results": ["Result", "Model", "Answers", "Prediction", "Labels", "AsyncModel", "Output"],
}
FOLDERS = {
    "A run": paths.RunPaths, "A model": paths.ModelPaths, "The state of a training": paths.CheckpointPaths,
    "A study": paths.StudyPaths, "A sweep": paths.SweepPaths,
    "Predictions of large files": paths.PredictionPaths,
}
PYTHON = """\
# Python

Every public name is an attribute of the package: `import polytask as pk`. Components are in namespaces,
`pk.losses.CrossEntropy()`, described under [components](families/index.md); settings are also described
[by their TOML keys](settings.md).
"""
NAME = """\
::: polytask.{place}
    options:
      heading: pk.{name}
      toc_label: pk.{name}
      show_root_heading: true
      show_root_toc_entry: true
      heading_level: 3
"""
FILES = """\
# Folders and files

Every file is written aside and renamed, so a reader never sees half of one. Nothing that polytask loads is
a pickle: weights are safetensors, everything else is JSON, TOML or CSV.
"""
MORE_FILES = """\
## Events

`events.jsonl` has one JSON object a line: what happened and when. `polytask log` sends it to trackers
([watching](scale.md#watching)), and the report's curves are drawn from it.

## Columns of predictions

They are described [with the data files](data.md#predictions).
"""
FAMILIES = """\
# Components

What a config can name, by family; `polytask list FAMILY` prints the same. One of your own is named by its
place, `my_parts:Focal` ([how](../own_parts.md)).

| family | components |
|---|---|
"""


def pages() -> dict[str, str]:
    """Return the pages by their names."""
    return {"api.md": api_page(), "cli.md": cli_page(), "files.md": files_page(),
            "families/index.md": families_page()}


def api_page() -> str:
    """Return the page of the public names, whose docstrings mkdocstrings fills in."""
    places = polytask._PLACES
    classes = [name for name in polytask.__all__ if ":" in places[name]]
    errors = [name for name in classes if places[name].startswith("core.errors:")]
    decorators = [name for name in classes if f"{name}s" in places or name in ("loss", "surgery")]
    groups = {**GROUPS, "Errors": errors}
    rest = set(classes) - {name for names in groups.values() for name in names} - set(decorators)
    if rest:
        raise SystemExit(f"docs/site_reference.py: GROUPS lacks {sorted(rest)}")
    parts = [PYTHON]
    for title, names in groups.items():
        parts.append(f"## {title}")
        parts += [NAME.format(name=name, place=places[name].replace(":", ".")) for name in names]
    marks = ", ".join(f"`@pk.{name}`" for name in decorators)
    parts += ["## Decorators", "A component of your own is a class (a metric: a function) under the "
              f"decorator of its family, {marks}: [how](own_parts.md)."]
    return "\n\n".join(parts) + "\n"


def cli_page() -> str:
    """Return the page of the commands, as typer documents them."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from polytask.cli import app

    command = get_command(app)
    context = command.make_context("polytask", ["list"], resilient_parsing=True)
    text = get_docs_for_click(obj=command, ctx=context, name="polytask", title="Command line")
    for name, verb in command.commands.items():  # typer cuts these lines to the width of a terminal
        first = " ".join((verb.help or "").split("\n\n")[0].split())
        text = re.sub(rf"^\* `{name}`:.*$", lambda _, name=name, first=first: (
            f"* [`{name}`](#polytask-{name}): {first}"), text, count=1, flags=re.MULTILINE)
    return text


def files_page() -> str:
    """Return the page of the folders: the docstrings of the one module that knows their names."""
    parts = [FILES]
    for title, cls in FOLDERS.items():
        first, _, tree = (inspect.getdoc(cls) or "").partition("\n\n")
        text = first.partition(": ")[2] if first.startswith(f"{title}:") else first
        parts.append(f"## {title}")
        if text.rstrip(".") != title:
            parts.append(text[0].upper() + text[1:])
        if tree:
            parts.append(f"```text\n{textwrap.dedent(tree)}\n```")
    return "\n\n".join([*parts, MORE_FILES])


def families_page() -> str:
    """Return the page that lists the families of components."""
    from polytask.commands.list import catalogue

    rows = []
    for plural, members in catalogue().items():
        names = ", ".join(f"`{member['name']}`" for member in members)
        rows.append(f"| [{plural}]({plural}.md) | {names} |")
    return FAMILIES + "\n".join(rows) + "\n"


if __name__ == "__main__":
    for page_name, page_text in pages().items():
        if len(sys.argv) > 1:
            path = Path(sys.argv[1]) / page_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page_text, encoding="utf-8")
        else:
            print(page_text)
