"""A model folder on the hub: which files go there, and a card that the hub's search understands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from polytask.core.errors import CheckpointError, ConfigError, RunError
from polytask.core.paths import ModelPaths, leads_outside
from polytask.model.hub import GRAPH_FILES, HUB, MODEL_FILES
from polytask.tasks.task import ResolvedTask

# The hub's names of checkpoints that come as packages.
_HUB_IDS = {"minilm": "sentence-transformers/all-MiniLM-L6-v2",
            "mpnet": "sentence-transformers/all-mpnet-base-v2"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def uploads(folder: Path) -> list[Path]:
    """Return the files of a model folder that belong to the model, sorted; the card is written anew.

    Raises `RunError` for a link that leads elsewhere: a stranger's folder would publish a file of yours.
    """
    wanted = (*MODEL_FILES, *GRAPH_FILES)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()
                  and path.relative_to(folder).as_posix() != "README.md"
                  and any(fnmatch(path.relative_to(folder).as_posix(), pattern) for pattern in wanted))
    for file in files:
        if leads_outside(folder / file, folder):
            raise RunError(f"{folder / file}: is a link to {(folder / file).resolve()}, outside of the "
                           "folder, and would be published; put a copy in its place if that is meant")
    return files


def hub_card(name: str, folder: Path, tasks: Mapping[str, ResolvedTask], checkpoint: str | None,
             sources: Mapping[str, str], results: Mapping[str, Any]) -> str:
    """Return the card of a model on the hub: its own card, with a model-index of what was measured.

    sources: task → the file or data set that it was trained on. results: split → its scores and rows, as
    `results.json` has them.
    """
    from huggingface_hub import ModelCard, ModelCardData

    path = ModelPaths(folder).card
    body = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8") if path.is_file() else "",
                  flags=re.DOTALL).strip()
    tags = ["polytask", "multi-task", *sorted({_tag(task) for task in tasks.values()})]
    if ModelPaths(folder).graph().is_file():
        tags.append("onnx")
    base = None
    if checkpoint is not None:
        base = _HUB_IDS.get(checkpoint, checkpoint.removeprefix(HUB).partition("@")[0])
    local = base is not None and (Path(base).exists() or not _HUB_NAME.fullmatch(base))
    if checkpoint and local:
        body = body.replace(checkpoint, Path(checkpoint).name)
    data = ModelCardData(library_name="polytask", pipeline_tag=tags[2], tags=tags,
                         model_name=name.split("/")[1],
                         eval_results=_measured(tasks, sources, results) or None,
                         base_model=None if local else base, widget=_examples(tasks))
    body = body.replace('pk.load("this/folder")', f'pk.load("{HUB}{name}")')
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n{_about(tasks, sources)}"))


def _tag(task: ResolvedTask) -> str:
    return "sentence-similarity" if task.labels.is_regression else "text-classification"


def _measured(tasks: Mapping[str, ResolvedTask], sources: Mapping[str, str],
              results: Mapping[str, Any]) -> list[Any]:
    """Return an entry for each metric of each task on each split that was scored."""
    from huggingface_hub import EvalResult

    return [EvalResult(task_type=_tag(tasks[task]), dataset_type=Path(sources.get(task, task)).stem,
                       dataset_name=task, dataset_split="validation" if split == "dev" else split,
                       metric_type=metric, metric_name=f"{metric} ({part['rows'][task]} rows)",
                       metric_value=round(value, 6))
            for split, part in results.items() for task, values in part["scores"].items() if task in tasks
            for metric, value in values.items() if isinstance(value, float)]


def _examples(tasks: Mapping[str, ResolvedTask]) -> list[dict[str, str]]:
    pairs = all(len(task.text) == 2 for task in tasks.values())
    if pairs:
        return [{"source_sentence": "How old are you?", "sentences": "What is your age?"}]
    return [{"text": "A gem from start to finish."}, {"text": "Two hours that I will not get back."}]


def _about(tasks: Mapping[str, ResolvedTask], sources: Mapping[str, str]) -> str:
    """Return what a reader should know before using the model."""
    named = {task: place if "://" in place else Path(place).name for task, place in sources.items()}
    lines = ["", "## Training data", "",
             *(f"- {task}: `{named[task]}`" if task in named else f"- {task}: not named" for task in tasks),
             "", "## Intended use", "",
             "Texts like those of the training data, for the tasks and labels above; all tasks of a text "
             "are answered in one pass of the encoder.", "", "## Caveats", "",
             "Scores were measured on the splits named; texts of other sources, lengths or languages may "
             "be answered worse. Probabilities are not calibrated. Texts longer than "
             f"{max(task.max_length for task in tasks.values())} tokens are cut.",
             "`CrossEncoder` of sentence-transformers opens this folder too, but with a head drawn at "
             "random: use `polytask export --to sentence-transformers --task` for one task.", ""]
    return "\n".join(lines)


def push_files(name: str, folder: Path, files: Sequence[Path], card: str, private: bool,
               revision: str | None) -> str:
    """Upload files and a card in one commit; return the commit's address.

    Raises `RunError` for what the hub refuses, `ConfigError` for a name that it does not allow.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    operations = [CommitOperationAdd("README.md", card.encode()),
                  *(CommitOperationAdd(file.as_posix(), folder / file) for file in files)]
    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.create_commit(name, operations, commit_message="Upload by polytask", revision=revision)
    except HFValidationError:
        raise ConfigError(f'NAME: found "{name}", expected user/name in letters, digits, "-", "_" and '
                          '"."') from None
    except LocalTokenNotFoundError:
        raise RunError("the hub wants a login; run hf auth login, or set HF_TOKEN") from None
    except OfflineModeIsEnabled:
        raise RunError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        remedy = "; log in with hf auth login, or set HF_TOKEN" if status in (401, 403) else ""
        raise RunError(f"{HUB}{name}: the hub refused the upload (status {status}){remedy}") from None
    except (OSError, CheckpointError) as error:
        raise RunError(f"{HUB}{name}: the hub cannot be reached "
                       f"({' '.join(str(error).split())[:200]})") from None
    return str(commit.commit_url)
