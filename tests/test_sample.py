"""The sample that comes with polytask: what is shipped is what is generated, and it reads well."""

from __future__ import annotations

import csv
import itertools
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from polytask.sample import generate, grammar, questions, reviews, root, sentences

TASKS = {"sst": 1, "quora": 2, "sts": 2}  # texts in a row
SPLITS = ("train", "dev", "test")


def rows(task: str, split: str) -> list[list[str]]:
    """The rows of a shipped file without index and id: texts, then the label."""
    with (root() / f"{task}-{split}.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t")
        header = next(reader)
        assert header == ["", "id", *generate.COLUMNS[task]]
        found = list(reader)
    assert [row[0] for row in found] == [str(index) for index in range(len(found))]
    assert len({row[1] for row in found}) == len(found)
    return [row[2:] for row in found]


def texts(task: str, split: str) -> list[str]:
    """Every text of a split."""
    return [text for row in rows(task, split) for text in row[:-1]]


def plain(text: str) -> str:
    """The words of a text."""
    return " ".join(re.findall(r"[\w$]+", text.lower()))


EVERYTHING = [text for task, split in itertools.product(TASKS, SPLITS) for text in texts(task, split)]


def test_shipped_files_are_what_the_generator_makes(tmp_path: Path) -> None:
    generate.main(["--out", str(tmp_path)])
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in root().iterdir()}
    assert len(made) == len(TASKS) * len(SPLITS)


def test_another_seed_makes_other_rows() -> None:
    first, again, other = generate.files(), generate.files(), generate.files(seed=1)
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("task", TASKS)
def test_counts(task: str) -> None:
    for split, size in generate.SIZES.items():
        found = rows(task, split)
        assert len(found) == size
        assert {len(row) for row in found} == {TASKS[task] + 1}


@pytest.mark.parametrize("split", SPLITS)
def test_grades_have_their_shares(split: str) -> None:
    found = Counter(row[-1] for row in rows("sst", split))
    assert set(found) == set("01234")
    for grade, share in generate.GRADES.items():
        assert found[str(grade)] / found.total() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("split", SPLITS)
def test_more_than_a_third_of_the_questions_are_duplicates(split: str) -> None:
    found = Counter(row[-1] for row in rows("quora", split))
    assert set(found) == {"0", "1"}
    assert found["1"] / found.total() == pytest.approx(0.37, abs=0.015)


@pytest.mark.parametrize("split", SPLITS)
def test_similarities_cover_the_range(split: str) -> None:
    labels = [row[-1] for row in rows("sts", split)]
    assert all(re.fullmatch(r"[0-4]\.[02468]|5\.0", label) for label in labels)
    found = Counter(int(float(label)) for label in labels)
    assert all(found[step] / len(labels) > 0.07 for step in range(5))
    assert 2.3 < sum(map(float, labels)) / len(labels) < 3.3


@pytest.mark.parametrize("task", TASKS)
def test_no_row_comes_twice(task: str) -> None:
    found = [frozenset(map(plain, row[:-1])) for split in SPLITS for row in rows(task, split)]
    assert len(set(found)) == len(found)
    assert {len(texts) for texts in found} == {TASKS[task]}


@pytest.mark.parametrize("task", TASKS)
def test_no_text_stands_in_two_splits(task: str) -> None:
    found = [set(map(plain, texts(task, split))) for split in SPLITS]
    for first, second in itertools.combinations(found, 2):
        assert not first & second


def test_word_overlap_does_not_give_the_answer_away() -> None:
    def overlap(row: list[str]) -> float:
        first, second = (set(plain(text).split()) for text in row[:-1])
        return len(first & second) / len(first | second)

    found = rows("quora", "train")
    same = sorted(overlap(row) for row in found if row[-1] == "1")
    other = sorted(overlap(row) for row in found if row[-1] == "0")
    assert same[len(same) // 2] < 0.5
    assert other[len(other) * 4 // 5] > same[len(same) // 2]


def test_articles_agree() -> None:
    for text in EVERYTHING:
        for said, word in re.findall(r"\b([Aa]n?) (\w+)", text):
            vowel = bool(re.match(r"[aeiou]|hour|honest", word.lower()))
            vowel = vowel and not re.match(r"one\b|uni|use|eu", word.lower())
            assert said.lower() == ("an" if vowel else "a"), text


def test_punctuation_and_capitals() -> None:
    for text in EVERYTHING:
        assert text == " ".join(text.split()), text
        assert not re.search(r"[][{}|~/<>=]|\.\.|,,| [.,;:?!]|[.,;:?!][A-Za-z]", text), text
        assert re.match(r"[A-Z0-9]", text), text
        assert not re.search(r"[.?!] [a-z]", text), text
        assert not re.search(r"\b(\w+) \1\b", text), text
    assert all(text.endswith("?") or "? " in text or "." in text for text in texts("quora", "train"))
    assert all(text.endswith(".") for text in texts("sst", "train"))


def test_lengths_are_sane_and_uneven() -> None:
    for task, most in {"sst": 40, "quora": 45, "sts": 25}.items():
        lengths = sorted(len(text.split()) for split in SPLITS for text in texts(task, split))
        assert lengths[0] >= (3 if task == "quora" else 4)
        assert lengths[-1] <= most
    lengths = sorted(len(text.split()) for text in texts("sst", "train"))
    assert lengths[-1] >= 36
    assert lengths[len(lengths) * 9 // 10] > 2 * lengths[len(lengths) // 10]


def test_a_wording_is_not_worn_out() -> None:
    frames = Counter(" ".join(text.split()[:3]) for text in texts("sst", "train"))
    assert frames.most_common(1)[0][1] < 0.06 * generate.SIZES["train"]


def test_slots_are_known() -> None:
    rules = grammar.rules(reviews.RULES)
    for alternative in itertools.chain.from_iterable(rules.values()):
        assert all(slot in rules or slot == "kinds" for slot in grammar.SLOT.findall(alternative))
        assert alternative.count("[") == alternative.count("]")
    assert set(grammar.SLOT.findall(questions.FAMILIES)) == {"x", "y"}
    for text in (sentences.SCENES, sentences.REPORTS):
        assert set(grammar.SLOT.findall(text)) <= set(sentences.FILLINGS)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("apple", "an"), ("hour", "an"), ("house", "a"), ("one-eyed", "a"), ("uniform", "a")],
)
def test_article(word: str, expected: str) -> None:
    assert grammar.article(word) == expected


def test_polish() -> None:
    assert grammar.polish(" a~ old  film . it is a~ {x}") == "An old film. It is a~ {x}"


def test_a_deck_deals_everything_before_anything_comes_again() -> None:
    deck = grammar.Deck(["one", "two", "three"], random.Random(0))
    assert {deck.deal(set()) for _ in range(3)} == {"one", "two", "three"}
    taken = {"a"}
    deck = grammar.Deck(["a> one", "b> two"], random.Random(0))
    assert deck.deal(taken) == "two"
    with pytest.raises(ValueError, match="no unused alternative is left"):
        deck.deal(taken)


def test_quotas_sum_to_the_size() -> None:
    assert grammar.quotas({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 100) == {"a": 33, "b": 33, "c": 34}
