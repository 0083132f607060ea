"""What a message says of a name that is not there."""

from __future__ import annotations

import pytest

from polytask.config import Run
from polytask.core import errors
from polytask.core.errors import ConfigError, listed, nearest, shown_name


@pytest.mark.parametrize(("name", "known", "meant"), [
    ("weihgt", ["weight", "height"], "weight"),
    ("LOSS", ["loss"], "loss"),
    ("objective", ["loss", "label"], "loss"),
    ("course", ["lr", "lr_schedule", "clip"], "lr_schedule"),
    ("separate", ["single", "bi_encoder", "cross_encoder"], "bi_encoder"),
    ("learning_rate", ["lr", "lr_schedule"], "lr"),
])
def test_the_nearest_name_is_a_synonym_or_the_closest_spelling(
    name: str, known: list[str], meant: str
) -> None:
    assert nearest(name, known) == f'; did you mean "{meant}"?'


def test_other_words_stand_for_the_names_they_mean() -> None:
    words = {"auc": "roc_auc", "Focal": "my_parts:Focal", "accuracy": "something else"}
    known = ["roc_auc", "my_parts:Focal", "accuracy"]
    for wrong, meant in (("AUC", "roc_auc"), ("focl", "my_parts:Focal"), ("acuracy", "accuracy")):
        assert nearest(wrong, known, words) == f'; did you mean "{meant}"?'
    assert nearest("zzz", [], words) == ""


def test_every_error_of_ours_is_one_kind_and_all_mistakes_are_kept() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type)
             and issubclass(each, Exception)]
    assert all(issubclass(kind, errors.PolytaskError) for kind in kinds)
    assert ConfigError(each for each in ("one", "two")).problems == ["one", "two"]
    assert str(ConfigError(["one", "two"])) == "one\ntwo"
    assert 'pip install "polytask[torchjd]"' in str(errors.MissingExtra("torchjd's rules", "torchjd"))


def test_no_name_is_suggested_where_none_is_near() -> None:
    assert nearest("objective", ["text", "train"]) == ""
    assert nearest("zzz", []) == ""


def test_names_are_listed_in_quotes() -> None:
    assert listed(["a", 2]) == '"a", "2"'


def test_a_config_in_former_words_names_the_present_word_for_each() -> None:
    table = {
        "encoder": {"checkpoint": "minilm"},
        "tasks": {"sts": {"train": "a.csv", "text": ["a", "b"], "label": "y", "pairing": "separate",
                          "objective": "mean_squared_error"}},
        "train": {"optimizer": {"course": "linear"}},
    }
    with pytest.raises(ConfigError) as caught:
        Run.from_table(table, "old.toml")
    told = "\n".join(caught.value.problems)
    for key, word in (("tasks.sts.objective", "loss"), ("tasks.sts.pairing", "bi_encoder"),
                      ("train.optimizer.course", "lr_schedule")):
        (line,) = [each for each in told.splitlines() if key in each]
        assert f'did you mean "{word}"' in line


@pytest.mark.parametrize(("name", "shown"), [
    ("text", '"text"'), ("text\u200b", '"text\\u200b"'), ("\ufefftext", '"\\ufefftext"'),
    ("two\u00a0words", '"two\\u00a0words"'), ('a "b"', "'a \"b\"'"),
    ("\u0645\u06cc\u200c\u062e", '"\u0645\u06cc\u200c\u062e"'),
    ("caf\u00e9 au lait", '"caf\u00e9 au lait"'),
])
def test_a_name_is_shown_with_what_is_invisible_in_it(name: str, shown: str) -> None:
    assert shown_name(name) == listed([name]) == shown
    assert nearest("tex", [name]) in ("", f"; did you mean {shown}?")
