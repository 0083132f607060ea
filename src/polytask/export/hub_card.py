"""The card of a model on the hub: what it is, how it scored and how surely, how each library opens it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polytask.core.errors import RunError
from polytask.core.paths import ModelPaths
from polytask.core.safe_paths import leads_outside, refuse_special
from polytask.model.hub import HUB
from polytask.model.packaged import PACKAGED
from polytask.tasks.resolved_task import ResolvedTask

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_CONFIG = re.compile(r"[\w.-]+(/[\w.-]+)?(?=[:/])")


@dataclass(frozen=True)
class MeasuredScore:
    """One metric of one task on one split."""

    task: str
    split: str
    metric: str
    value: float
    rows: int
    interval: tuple[float, float] | None = None
    """95 %, from resampled rows; None where the predictions are not there."""
    single: float | None = None
    """The mean score of models trained on this task alone, in the study that the run belongs to."""


@dataclass(frozen=True)
class Provenance:
    """What a model was made from, and what its owner says of it.

    sources: task → the file or data set that it was trained on. commit: of the checkpoint, on the hub.
    """

    checkpoint: str | None = None
    commit: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    language: Sequence[str] = ()
    license: str | None = None
    datasets: Sequence[str] = ()


def read_card(folder: Path) -> str:
    """Return the text of a model's card, "" where it has none.

    Raises `RunError` for what is no text, and for a link that leads out of the folder, whose file would be
    published.
    """
    card = ModelPaths(folder).card
    refuse_special(card)
    if not card.is_file():
        return ""
    if leads_outside(card, folder):
        raise RunError(f"{card}: is a link to {card.resolve()}, outside the folder, and would become the "
                       "model's card; replace it by a copy if you mean that")
    try:
        return card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{card}: cannot be read ({error}); remove it, a model needs none") from None


def hub_card(name: str, folder: Path, tasks: Mapping[str, ResolvedTask], origin: Provenance,
             scores: Sequence[MeasuredScore]) -> str:
    """Return the card of a model on the hub: its own card, with the hub's metadata and how to use it."""
    from huggingface_hub import ModelCard, ModelCardData

    body = re.sub(r"\A---\n.*?\n---\n", "", read_card(folder), flags=re.DOTALL).strip()
    tags = ["polytask", "multi-task", *sorted({_tag(task) for task in tasks.values()})]
    if ModelPaths(folder).graph().is_file():
        tags.append("onnx")
    base = _hub_id(origin.checkpoint)
    if origin.checkpoint and base is None:  # a path of this machine
        body = body.replace(origin.checkpoint, Path(origin.checkpoint).name)
    trained_on = [place for place in map(_data_set, origin.sources.values()) if place is not None]
    data = ModelCardData(
        library_name="polytask", pipeline_tag=tags[2], tags=tags, model_name=name.split("/")[1],
        language=list(origin.language) or None, license=origin.license,
        datasets=list(dict.fromkeys([*origin.datasets, *trained_on])) or None,
        eval_results=_model_index(tasks, origin.sources, scores) or None, base_model=base,
        widget=_examples(tasks))
    body = body.replace('pk.load("this/folder")', f'pk.load("{HUB}{name}")')
    sections = [body, *_use(name, folder, tasks), *_scores(scores), *_about(tasks, origin, base)]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(sections)))


def _hub_id(checkpoint: str | None) -> str | None:
    """Return a checkpoint's name on the hub, or None for a folder."""
    if checkpoint is None:
        return None
    packaged = PACKAGED.get(checkpoint)
    name = packaged.hub_id if packaged else checkpoint.removeprefix(HUB).partition("@")[0]
    return None if Path(name).exists() or not _HUB_NAME.fullmatch(name) else name


def _data_set(source: str) -> str | None:
    """Return the hub's name of a data set, or None for a file."""
    name = _CONFIG.match(source.removeprefix(HUB)) if source.startswith(HUB) else None
    return name[0] if name else None


def _tag(task: ResolvedTask) -> str:
    return "sentence-similarity" if task.labels.is_regression else "text-classification"


def _model_index(tasks: Mapping[str, ResolvedTask], sources: Mapping[str, str],
                 scores: Sequence[MeasuredScore]) -> list[Any]:
    from huggingface_hub import EvalResult

    return [EvalResult(
        task_type=_tag(tasks[each.task]), dataset_type=Path(sources.get(each.task, each.task)).stem,
        dataset_name=each.task, dataset_split="validation" if each.split == "dev" else each.split,
        metric_type=each.metric, metric_value=round(each.value, 6),
        metric_name=f"{each.metric} ({each.rows} rows{_between(each.interval, ', 95 % interval ')})")
        for each in scores if each.task in tasks]


def _between(interval: tuple[float, float] | None, before: str = "") -> str:
    return "" if interval is None else f"{before}{interval[0]:.4f} to {interval[1]:.4f}"


def _examples(tasks: Mapping[str, ResolvedTask]) -> list[dict[str, str]]:
    if all(len(task.text) == 2 for task in tasks.values()):
        return [{"source_sentence": "How old are you?", "sentences": "What is your age?"}]
    return [{"text": "A gem from start to finish."}, {"text": "Two hours that I will not get back."}]


def _use(name: str, folder: Path, tasks: Mapping[str, ResolvedTask]) -> list[str]:
    """Return a snippet for each door that is open."""
    first = next(iter(tasks.values()))
    body = '{"texts": "A text."}' if len(first.text) == 1 else '{"pairs": [["A text.", "Another."]]}'
    lines = ["", "## Use it elsewhere", "", "```sh",
             f"polytask predict {HUB}{name} --task {first.name} new.csv", f"polytask serve {HUB}{name}",
             f"curl -s localhost:8000/predict -H 'content-type: application/json' -d '{body}'", "```", "",
             "```python", "from transformers import AutoModel", "",
             f'AutoModel.from_pretrained("{name}")  # the encoder, without the tasks']
    if ModelPaths(folder).modules.is_file():
        lines += ["", "from sentence_transformers import SentenceTransformer", "",
                  f'SentenceTransformer("{name}").encode(["A text."])  # the embeddings']
    if ModelPaths(folder).graph().is_file():
        lines += ["", "import polytask as pk", "",
                  f'pk.load("{HUB}{name}", engine="onnx")  # with onnxruntime, tokenizers, numpy; no torch']
    return [*lines, "```"]


def _scores(scores: Sequence[MeasuredScore]) -> list[str]:
    """Return the table of main scores, with a column for single-task models where a study has them."""
    if not scores:
        return []
    main = list({(score.task, score.split): score for score in reversed(scores)}.values())[::-1]
    compared = any(score.single is not None for score in main)
    lines = ["", "## Scores", "", "| task | split | rows | metric | score | 95 % interval |"
             + " trained alone |" * compared, "|---" * (6 + compared) + "|"]
    for score in main:
        single = "" if not compared else f" {'–' if score.single is None else f'{score.single:.4f}'} |"
        lines.append(f"| {score.task} | {score.split} | {score.rows:,} | {score.metric} | "
                     f"{score.value:.4f} | {_between(score.interval) or '–'} |{single}")
    return [*lines, "", "Intervals come from resampled rows: they do not cover the variation between "
                        "trainings."]


def _about(tasks: Mapping[str, ResolvedTask], origin: Provenance, base: str | None) -> list[str]:
    """Return what a reader should know before using the model."""
    sources = origin.sources
    named = {task: place if "://" in place else Path(place).name for task, place in sources.items()}
    start = [] if base is None else [
        f"- the encoder: `{base}`" + (f" at commit `{origin.commit}`" if origin.commit else "")
        + "; its own training data are named there"]
    return ["", "## Training data", "",
            *(f"- {task}: `{named[task]}`" if task in named else f"- {task}: not named" for task in tasks),
            *start, "", "## Intended use", "",
            "Texts like those of the training data, for the tasks and labels above; all tasks of a text "
            "are answered in one pass of the encoder.", "", "## Caveats", "",
            "Scores were measured on the splits named; texts from other sources, of other lengths or in "
            "other languages may score lower. Probabilities are not calibrated. Texts longer than "
            f"{max(task.max_length for task in tasks.values())} tokens are cut.",
            "`CrossEncoder` of sentence-transformers opens this folder too, but with a head drawn at "
            "random: use `polytask export --to sentence-transformers --task` for one task.", ""]
