"""Labels know their classes, read what a file writes for them, and survive being kept as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.label_forms import is_blank
from polytask.data.label_inference import Wanted, infer
from polytask.data.label_targets import to_numbers
from polytask.data.labels import Labels

NAMES = st.text(min_size=1, max_size=8).map(str.strip).filter(lambda name: not is_blank(name))


def test_the_second_of_two_classes_is_positive() -> None:
    assert Labels("binary", ("no", "yes")).positive == "yes"
    assert Labels("classes", ("a", "b", "c")).positive is None
    assert Labels("regression").positive is None


@pytest.mark.parametrize(("label", "classes", "name"), [
    ("1.0", ("0", "1"), "1"), ("1e0", ("0", "1"), "1"), ("007", ("0", "7"), "007"),
    ("1.0", ("0", "1", "x"), "1.0"), ("TRUE", ("false", "true"), "true"), ("Yes", ("no", "yes"), "Yes"),
])
def test_a_label_names_its_class(label: str, classes: tuple[str, ...], name: str) -> None:
    assert Labels("classes", classes).class_name(label) == name


@pytest.mark.parametrize("labels", [
    Labels("binary", ("no", "yes")), Labels("regression", (), 1, 5, False, "decimal commas"),
    Labels("multi-label", ("a", "b"), separator=";"), Labels("multi-label", ("a", "b"), form="vectors"),
])
def test_labels_come_back_from_json(labels: Labels) -> None:
    assert Labels.from_json(json.loads(json.dumps(labels.to_json()))) == labels


def test_labels_kept_by_an_earlier_version_are_read() -> None:
    kept = {"kind": "binary", "classes": ["0", "1"], "low": 0.0, "high": 1.0, "unit": True}
    assert Labels.from_json(kept) == Labels("binary", ("0", "1"))


@given(st.lists(NAMES, min_size=2, max_size=12).filter(lambda names: len(set(names)) > 1))
def test_names_that_the_config_lists_stay_as_written(names: list[str]) -> None:
    classes = tuple(dict.fromkeys(names))
    if Labels("classes", classes).class_name("1.0") == "1":  # numbers alone are merged
        return
    labels = infer(names, Wanted(kind="classes", classes=classes)).labels
    if labels.classes != classes:
        assert {*labels.classes} != {*classes} and all(float(name) is not None for name in classes)
        return
    targets = to_numbers(names, labels, "f", range(len(names)))
    assert [labels.classes[target] for target in targets] == names


@given(st.lists(st.lists(NAMES, max_size=4), min_size=2, max_size=10),
       st.sampled_from(["json", "python", "numpy"]))
def test_lists_come_back_whatever_wrote_them(rows: list[list[str]], writer: str) -> None:
    classes = tuple(dict.fromkeys(name for row in rows for name in row))
    if len(classes) < 2 or Labels("classes", classes).class_name("1.0") == "1":
        return
    written = {"json": json.dumps, "python": repr, "numpy": lambda row: f"[{' '.join(map(repr, row))}]"}
    labels = Labels("multi-label", classes)
    targets = to_numbers([written[writer](row) for row in rows], labels, "f", range(len(rows)))
    found = [{classes[place] for place in target.nonzero()[0]} for target in targets]
    assert found == [set(row) for row in rows]
