"""The model card: what it says of each task, its scores and the metadata that the hub reads."""

from __future__ import annotations

from polytask.data.label_inference import infer
from polytask.evaluation.card import card
from polytask.evaluation.evaluate import Evaluation
from polytask.tasks.resolved_task import ResolvedTask, resolve
from polytask.tasks.task import Task


def resolved(name: str, labels: list[str], text: str | list[str], **settings: object) -> ResolvedTask:
    task = Task(**{"train": "t.csv", "text": text, "label": "label", **settings})
    return resolve(name, task, infer(labels).labels, None, 64)


TASKS = {
    "topic": resolved("topic", [f"c{n}" for n in range(8)] * 2, "text"),
    "like": resolved("like", ["0.5", "1.5", "5"], ["a", "b"], pairing="bi_encoder", head="cosine"),
}
ROWS = {"topic": 16, "like": 3}


def test_each_task_has_a_row_with_its_parts_and_scores() -> None:
    scores = {"topic": {"accuracy": 0.75, "per_label_accuracy": {"c0": 1.0}}, "like": {"pearson": None}}
    evaluation = Evaluation("dev", scores, 0.75, {"default": 0.75}, {"topic": 4, "like": 1})
    lines = card("minilm", TASKS, ROWS, evaluation).splitlines()
    topic = next(line for line in lines if line.startswith("| topic |"))
    assert "c0, c1, c2, c3, c4, c5, … (8)" in topic and topic.endswith("| 16 | accuracy 0.7500 |")
    like = next(line for line in lines if line.startswith("| like |"))
    assert "| 0.5 to 5 | `bi_encoder` | `cosine` |" in like and like.endswith("| 3 | – |")


def test_the_hub_reads_its_metadata() -> None:
    head = card("org/base", TASKS, ROWS, None).split("---")[1]
    assert 'base_model: "org/base"' in head and "library_name: polytask" in head
    assert "- sentence-similarity" in head and "- text-classification" in head


def test_the_example_has_as_many_texts_as_the_first_task() -> None:
    assert 'model.predict("topic", ["A text."])' in card("minilm", TASKS, ROWS, None)
    pairs = {"like": TASKS["like"]}
    assert 'model.predict("like", [("First text.", "Second text.")])' in card("minilm", pairs, ROWS, None)


def test_notes_stand_above_the_table() -> None:
    text = card("minilm", TASKS, ROWS, None, ["two rows were left out"])
    assert text.index("- two rows were left out") < text.index("| task |")
