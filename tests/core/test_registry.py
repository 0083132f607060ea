"""Families: what a member must define, what it is called, and how a name finds it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

import polytask as pk
from polytask.core.errors import ConfigError, UnknownName
from polytask.core.registry import Family, reference_of, section, snake_case
from polytask.core.settings import to_table


class Base:
    """What every tool has."""

    size: int = 1

    def act(self) -> str:
        return "the base's"

    def shown(self) -> str:
        return "shown"


@pytest.fixture
def tool() -> Iterator[Family]:
    yield Family("tool", "tools", methods=("act",), base=Base)
    del Family.all["tools"]
    for name in [name for name in sys.modules if name.startswith("polytask.tools")]:
        del sys.modules[name]


def our_own(family: Family, name: str, place: str = "") -> Any:
    """Register a class as if it stood in a module of polytask's."""
    module = f"polytask.tools.{place or name.lower()}"
    sys.modules[module] = ModuleType(module)
    return family(type(name, (), {"__module__": module, "__doc__": "One of ours.",
                                  "act": lambda self: "ours"}))


@pytest.mark.parametrize(("cls", "name"), [
    ("PCGrad", "pcgrad"), ("OrdinalLogLoss", "ordinal_log_loss"), ("MLP", "mlp"), ("SimCSE", "sim_cse"),
    ("SMART", "smart"), ("BatchRoundRobin", "batch_round_robin"),
])
def test_registered_names_are_the_snake_case_of_the_class(cls: str, name: str) -> None:
    assert snake_case(cls) == name


def test_ours_are_called_by_their_name_and_a_users_by_its_place() -> None:
    assert reference_of("polytask.losses.linear", "Linear", "linear") == "linear"
    assert reference_of("my_parts", "Linear", "linear") == "my_parts:Linear"
    assert reference_of("polytasks", "Linear", "linear") == "polytasks:Linear"


def test_a_class_of_the_users_may_have_the_name_of_one_of_ours(tool: Family) -> None:
    ours = our_own(tool, "Hammer")

    @tool
    class Hammer:
        """Mine."""

        def act(self) -> str:
            return "mine"

    assert tool.find("hammer") is ours
    assert tool.find(f"{__name__}:{Hammer.__qualname__}") is Hammer
    assert tool.read(to_table(Hammer())).act() == "mine"
    assert to_table(tool.read("hammer")) == {"type": "hammer", "size": 1}
    assert tool.read("hammer").shown() == "shown"


def test_real_families_take_namesakes_too() -> None:
    @pk.head
    class Linear:
        """A head of ours has this name."""

        def build(self, width: int, outputs: int, shared: Any) -> Any: ...

    try:
        assert pk.heads.Linear is not Linear  # type: ignore[attr-defined]
        assert pk.Task(train="x", text="a", label="b", head=Linear()).head == Linear()
        assert pk.head.find("linear") is pk.heads.Linear  # type: ignore[attr-defined]
    finally:
        pk.head.members.pop(Linear.reference)


def test_a_second_class_of_ours_with_the_same_name_is_refused(tool: Family) -> None:
    our_own(tool, "Saw")
    with pytest.raises(ConfigError, match=r'tool "saw" is registered already, by polytask\.tools\.saw'):
        our_own(tool, "Saw", "other")


def test_running_a_notebooks_cell_again_replaces_its_class(tool: Family) -> None:
    def cell(answer: str) -> Any:
        return tool(type("Mine", (), {"__module__": "__main__", "act": lambda self: answer}))

    first, second = cell("old"), cell("new")
    assert first is not second
    assert [*tool.members] == ["__main__:Mine"]
    assert tool.read("__main__:Mine").act() == "new"
    assert to_table(second()) == {"type": "__main__:Mine", "size": 1}


def test_what_a_notebook_defined_and_is_gone_is_reported(tool: Family) -> None:
    with pytest.raises(UnknownName, match=r'"__main__:Mine": was defined in a notebook or script, .* move '
                       'it to a file, such as my_parts.py, and name it "my_parts:Mine"'):
        tool.find("__main__:Mine")


def test_what_the_base_gives_is_what_a_class_is_asked_for(tool: Family) -> None:
    with pytest.raises(ConfigError, match=r'^tool "lame" lacks "act"$'):
        @tool
        class Lame:
            """Does nothing."""
    with pytest.raises(ConfigError, match=r'^tool "lazy" lacks "act"$'):
        @tool
        class Lazy(Base):
            """Has what the base has and no more."""

    class Hard:
        def act(self) -> str:
            return "inherited"

    @tool
    class Heir(Hard):
        """Has it from a class of its own."""

    assert tool.read(Heir.reference).act() == "inherited"  # type: ignore[attr-defined]


def test_a_callable_family_asks_for_a_call_of_the_classs_own() -> None:
    made = Family("caller", "callers", methods=("__call__",))
    try:
        with pytest.raises(ConfigError, match="__call__"):
            @made
            class Silent:
                """Every class object has a call, its metaclass's."""
    finally:
        del Family.all["callers"]


def test_one_of_several_methods_is_enough() -> None:
    made = Family("mover", "movers", methods=("name_it", ("walk", "ride")), base=Base)
    try:
        with pytest.raises(ConfigError, match=r'^mover "still" lacks "name_it", "walk" or "ride"$'):
            made(type("Still", (), {"__module__": __name__}))
        for way in ("walk", "ride"):
            made(type("Moving", (), {"__module__": __name__, "name_it": print, way: print}))
    finally:
        del Family.all["movers"]


def test_a_surgery_that_operates_on_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match='surgery "empty" lacks "weights" or "combine" or "build"'):
        @pk.surgery
        class Empty:
            """Nothing."""


@pytest.mark.parametrize(("wrong", "meant"), [
    ("hamer", "hammer"), ("Chisel", f"{__name__}:Chisel"), ("chissel", f"{__name__}:Chisel"),
])
def test_the_nearest_name_is_reported_also_of_a_users(tool: Family, wrong: str, meant: str) -> None:
    our_own(tool, "Hammer")
    tool(type("Chisel", (), {"__module__": __name__, "act": lambda self: ""}))
    with pytest.raises(UnknownName, match=f'"{wrong}" is not a tool; did you mean "{meant}"'):
        tool.find(wrong)


def test_the_catalogue_has_the_name_to_show_and_the_name_to_write(tool: Family) -> None:
    tool(type("BigSaw", (), {"__module__": __name__, "__doc__": "Cuts.", "act": lambda self: ""}))
    (row,) = tool.describe()
    assert (row["name"], row["reference"], row["doc"]) == ("big_saw", f"{__name__}:BigSaw", "Cuts.")


def test_other_libraries_are_read_by_their_prefix(tool: Family) -> None:
    tool.reads("lib", lambda rest, fields: (rest, dict(fields)))
    assert tool.read({"type": "lib:Thing", "a": 1}) == ("Thing", {"a": 1})


@pytest.mark.parametrize("value", [3, {}, {"type": 3}, None, ["hammer"]])
def test_what_is_neither_name_nor_table_is_refused(tool: Family, value: Any) -> None:
    our_own(tool, "Hammer")
    with pytest.raises(PydanticCustomError, match='expected the name of a tool or a table with "type"'):
        tool.read(value)


def test_a_new_file_in_a_package_is_discovered(
    tool: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_tools"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_private.py").write_text("raise SystemExit('never imported')")
    (package / "axe.py").write_text(
        "from polytask.core.registry import Family\n\n@Family.all['tools']\nclass Axe:\n"
        "    'Chops.'\n    def act(self): return 'chop'\n")
    monkeypatch.syspath_prepend(tmp_path)
    tool.discover("some_tools")
    assert [*tool.exports("some_tools")] == ["Axe"]
    assert tool.exported("some_tools", "Axe")().act() == "chop"
    with pytest.raises(AttributeError, match='did you mean "Axe"'):
        tool.exported("some_tools", "Ax")


def test_a_section_of_a_docstring_is_one_line() -> None:
    assert section("First.\n\nSource: one,\n    two.\n\nNote: three.", "Source") == "one, two."
    assert section("First.", "Source") == ""
