"""Settings and components: all mistakes at once, the nearest name, and tables there and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import Field

from polytask.config import Run
from polytask.core.errors import ConfigError
from polytask.core.registry import Family
from polytask.core.settings import from_table, settings, to_table
from polytask.core.toml import override, read_toml, write_toml


class Base:
    """What every part has."""

    weight: float = Field(1.0, description="Its factor.")

    def shown(self) -> str:
        return type(self).__name__


PARTS = Family("part", "parts", methods=("act",), base=Base)
del Family.all["parts"]  # known to these tests alone
OnePart = Annotated[Any, PARTS]


@settings
class Inner:
    """A table in a table."""

    parts: tuple[OnePart, ...] = ()
    size: int | dict[str, int] = 3


@settings
class Outer:
    """A table."""

    inner: Inner = Inner()
    name: str


@pytest.fixture
def part() -> Iterator[Family]:
    yield PARTS
    PARTS.members.clear()


def test_a_component_is_object_table_and_row_of_the_catalogue(part: Family) -> None:
    @part
    class Turner:
        """Turns things.

        Source: a paper.
        """

        angle: float = 90.0
        """How far."""
        around: tuple[str, ...] = ("x",)
        """Which axes."""

        def act(self) -> float:
            return self.angle

    made: Any = Turner(angle=45)
    assert to_table(made) == {"type": Turner.reference, "angle": 45.0, "around": ["x"], "weight": 1.0}
    assert part.read(to_table(made)) == made
    assert part.read(Turner.reference) == Turner()
    assert made.shown() == "Turner"  # the family's base gives it
    (row,) = part.describe()
    assert (row["name"], row["doc"], row["source"]) == ("turner", "Turns things.", "a paper.")
    assert [field["doc"] for field in row["fields"]] == ["How far.", "Which axes.", "Its factor."]
    with pytest.raises(ConfigError, match='angel is not a setting; did you mean "angle"'):
        Turner(angel=1)  # type: ignore[call-arg]
    with pytest.raises(Exception, match="cannot assign to field"):
        made.angle = 1.0


def test_every_mistake_of_a_table_is_reported_with_its_dotted_path(part: Family) -> None:
    @part
    class Mover:
        """Moves."""

        far: int = 1
        """How far."""

        def act(self) -> None: ...

    with pytest.raises(ConfigError) as caught:
        from_table(Outer, {"inner": {"parts": ["movr", {"type": Mover.reference, "fra": 2}], "size": "big",
                                     "sise": 1}}, "x.toml")
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for said in ('x.toml: name is missing', 'inner.parts.0 "movr" is not a part; did you mean '
                                            '"test_settings:',
                 'inner.parts.1.fra is not a setting; did you mean "far"', "inner.size found 'big'",
                 'inner.sise is not a setting; did you mean "size"'):
        assert said in told


def test_overrides_reach_tables_lists_and_named_components() -> None:
    table = {"train": {"schedule": "annealed", "list": [{"a": 1}]}}
    made = override(table, ["train.schedule.end=0.5", "train.list.0.a=2", "encoder.checkpoint=runs/x",
                            "train.on=true", "train.weights={ a = 1 }"])
    assert made["train"] == {"schedule": {"type": "annealed", "end": 0.5}, "list": [{"a": 2}], "on": True,
                             "weights": {"a": 1}}
    assert made["encoder"] == {"checkpoint": "runs/x"}
    assert table == {"train": {"schedule": "annealed", "list": [{"a": 1}]}}  # left as it was
    for wrong, said in (("train", "expected dotted.key=value"), ("train.list.7.a=1", "index below 1"),
                        ("train.list.0.a.b=1", "not a table")):
        with pytest.raises(ConfigError, match=said):
            override(table, [wrong])


def test_toml_there_and_back_and_what_is_not_toml(tmp_path: Any) -> None:
    table = {"a": 1, "text": 'with "quotes" and\nlines', "list": [1.5, 2.0], "in": {"x": True}}
    path = tmp_path / "x.toml"
    path.write_text(write_toml(table))
    assert read_toml(path) == table
    path.write_text("a = [1,\n2\nb = 3")
    with pytest.raises(ConfigError, match=r"x\.toml: is not valid TOML: .*line"):
        read_toml(path)
    with pytest.raises(ConfigError, match="is a folder"):
        read_toml(tmp_path)


def test_a_key_of_an_inner_table_is_named_with_its_place() -> None:
    from polytask.learn.train_settings import Train

    with pytest.raises(ConfigError, match=r'train\.lr is not a setting; did you mean "optimizer\.lr"\?'):
        from_table(Train, {"lr": 1e-3}, "", "train")


@pytest.mark.parametrize(("setting", "says"), [
    ("train.optimizer.lr=true", "train.optimizer.lr found true, expected a number"),
    ("train.epochs=true", "train.epochs found true, expected a whole number"),
    ("train.batch_size=true", "train.batch_size found true, expected a whole number, or a table"),
    ("train.batch_size={a=false}", "train.batch_size.a found false, expected a whole number"),
    ("encoder.trainable=[true]", "encoder.trainable.0 found true, expected a whole number"),
    ("tasks.a.threshold=true", "tasks.a.threshold found true, expected a number, or 'tuned' or 'accuracy'"),
    ("tasks.a.dev=true", "tasks.a.dev found true, expected a string, or a number"),
    ("tasks.a.head={type='mlp',hidden=true}", "tasks.a.head.hidden found true, expected a whole number"),
    ("train.compile='often'", "train.compile found 'often', expected true or false"),
    ("train.epochs=[1]", "train.epochs found [1], expected a whole number"),
])
def test_true_is_no_number(setting: str, says: str) -> None:
    table = {"encoder": {"checkpoint": "minilm"}, "train": {"epochs": 1},
             "tasks": {"a": {"train": "x.csv", "text": "t", "label": "l"}}}
    with pytest.raises(ConfigError) as refused:
        Run.from_table(override(table, [setting]), "c.toml")
    assert str(refused.value) == f"c.toml: {says}"
    assert Run.from_table(override(table, ["train.compile=true", "train.optimizer.lr=1"]), "c.toml")
