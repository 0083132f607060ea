"""The counts of the report agree with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix, recall_score

from polytask.data.decisions import joined_names
from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions
from polytask.report import analysis
from written_answers import answers


@pytest.fixture
def drawn() -> tuple[Predictions, Labels]:
    chance = np.random.default_rng(3)
    names = [f"class {n}" for n in range(7)]
    true, predicted = (chance.choice(names, 400, p=np.arange(1, 8) / 28).tolist() for _ in range(2))
    return answers(true, predicted, chance.uniform(size=400)), Labels("classes", tuple(names))


@pytest.mark.technique("T-37", "P-26", "G-37", "G-38")
def test_confusion_and_label_accuracy_agree_with_scikit_learn(drawn: tuple[Predictions, Labels]) -> None:
    found, labels = drawn
    counts = analysis.confusion(found, labels.classes)
    theirs = confusion_matrix(found.true, found.predicted, labels=labels.classes)
    np.testing.assert_array_equal(counts, theirs)
    recall = recall_score(found.true, found.predicted, labels=labels.classes, average=None)
    each = analysis.per_label(found, labels)
    np.testing.assert_allclose([one.recall for one in each], recall)
    assert sum(one.share for one in each) == pytest.approx(1)
    assert sum(one.rows for one in each) == 400


def test_each_label_of_a_multi_label_task_agrees_with_scikit_learn() -> None:
    chance = np.random.default_rng(5)
    true, predicted = chance.integers(0, 2, (2, 50, 4))
    names = ("a", "b|c", "c", "d")
    told = [[joined_names([n for n, on in zip(names, row, strict=True) if on]) for row in rows]
            for rows in (true.tolist(), predicted.tolist())]
    found, labels = answers(*told), Labels("multi-label", names)
    theirs = multilabel_confusion_matrix(true, predicted)
    np.testing.assert_array_equal(analysis.flags(found, names), theirs)
    np.testing.assert_allclose([each.recall for each in analysis.per_label(found, labels)],
                               recall_score(true, predicted, average=None))
    found.label_scores = chance.uniform(size=(50, 4)).tolist()
    points = analysis.reliability(found, labels)
    assert sum(rows for *_, rows in points) == 200
    assert sum(share * rows for _, share, rows in points) == true.sum()


def test_numbers_of_any_range_have_a_few_labels() -> None:
    for low, high, values, wanted in (
            (0, 5, ["2.5", "3.5", "0.4"], {"2": 1, "4": 1, "0": 1}),
            (-100, 100, ["-100", "-61", "100"], {"-100…-60": 2, "60…100": 1}),
            (0, 1, ["0", "0.99", "1"], {"0…0.2": 1, "0.8…1": 2})):
        each = analysis.per_label(answers(values, values), Labels("regression", (), low, high))
        assert {one.label: one.rows for one in each if one.rows} == wanted
        assert all(one.recall == 1 for one in each if one.rows)


@pytest.mark.technique("T-35")
def test_projection_agrees_with_scikit_learn_up_to_sign() -> None:
    vectors = np.random.default_rng(1).normal(size=(60, 12)) * np.arange(1, 13)
    points, shares = analysis.projected(vectors)
    theirs = PCA(2).fit(vectors)
    np.testing.assert_allclose(np.abs(points), np.abs(theirs.transform(vectors)), atol=1e-8)
    np.testing.assert_allclose(shares, theirs.explained_variance_ratio_)


@pytest.mark.filterwarnings("error")
def test_vectors_that_are_all_the_same_are_one_point() -> None:
    points, shares = analysis.projected(np.ones((5, 3)))
    assert points.tolist() == [[0, 0]] * 5 and shares.tolist() == [0, 0]


@pytest.mark.technique("S-29")
def test_attention_is_shared_out_between_the_texts_neighbours_and_the_same_words() -> None:
    tokens = ["[CLS]", "a", "man", "[SEP]", "man", "eats", "[SEP]"]
    maps = np.zeros((3, 2, 7, 7), np.uint8)
    maps[0, :, :, 0] = 255                            # all look at [CLS]
    for word, other in ((1, 2), (2, 1), (4, 5), (5, 4)):
        maps[1, :, word, other] = 255                 # all look at the word beside them
    maps[2, 0, 2, 4] = maps[2, 0, 4, 2] = 255         # one head finds the same word,
    maps[2, 1, 1, 5] = maps[2, 1, 5, 2] = 255         # another any word of the other text
    first, second, third = analysis.attended(tokens, maps)
    assert (first.other_text, first.neighbours, first.same_word) == (0, 0, 0)
    assert (second.other_text, second.neighbours, second.same_word) == (0, 1, 0)
    assert (third.other_text, third.neighbours, third.same_word) == (0.5, 0, 0.25)
    assert analysis.attended(["[CLS]", "a", "man", "[SEP]"], maps[:, :, :4, :4]) == []
    assert analysis.attended(["<s>", "a", "</s>", "</s>", "b", "</s>"], maps[:, :, :6, :6]) != []


def test_reliability_counts_every_row_once(drawn: tuple[Predictions, Labels]) -> None:
    found, labels = drawn
    points = analysis.reliability(found, labels)
    assert sum(rows for *_, rows in points) == 400
    right = np.mean([a == b for a, b in zip(found.true, found.predicted, strict=True)])
    assert sum(share * rows for _, share, rows in points) / 400 == pytest.approx(right)
    sure = answers(["a", "b"], ["a", "b"], [1.0, 1.0])
    assert analysis.calibration_error(analysis.reliability(sure, Labels("classes", ("a", "b", "c")))) == 0
    assert analysis.reliability(answers(["a"], ["a"], [float("nan")]), labels) == []


def test_slices_hold_all_rows_and_their_scores() -> None:
    texts = [("a b c", "a b c"), ("a b", "c d"), ("a", "b c d e f")]
    found = analysis.slices(answers(["1", "0", "1"], ["1", "1", "1"], texts=texts),
                            Labels("binary", ("0", "1")), cut=[2])
    lengths = [each for each in found if each.what.endswith("words")]
    assert sum(each.rows for each in lengths) == 3
    shared = {each.what: (each.rows, each.score) for each in found if "shared" in each.what}
    assert shared == {"0% to 20% of the words shared": (2, 0.5),
                      "80% to 100% of the words shared": (1, 1.0)}
    assert [(each.what, each.rows, each.score) for each in found[-2:]] == [
        ("cut at the maximum length", 1, 1.0), ("whole", 2, 0.5)]
    every = analysis.slices(answers(["1", "0"], ["1", "1"], texts=texts[:2]), Labels("binary", ("0", "1")),
                            cut=[0, 1])
    assert [(each.what, each.rows) for each in every[-2:]][-1] == ("cut at the maximum length", 2)
