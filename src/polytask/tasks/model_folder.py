"""A model folder (`core.paths.ModelPaths` says what lies where): written in one rename, read whole.

A reader changes nothing in the folder and gets one version of it, also while a training replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic_core import PydanticCustomError, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from polytask.core.atomic_files import read_folder, save_tensors, write_folder
from polytask.core.encoder_paths import PartPaths
from polytask.core.errors import CheckpointError, RunError
from polytask.core.json_files import read_json
from polytask.core.leftovers import standing_aside
from polytask.core.paths import ModelPaths, RunPaths
from polytask.core.run_folder import RunFolder
from polytask.core.safe_paths import refuse_special, require_folder
from polytask.core.settings import to_table
from polytask.core.user_modules import untrusted
from polytask.data.decisions import Threshold
from polytask.data.stored_task import stored_task_problem, wanted_threshold_problem
from polytask.model.adapters.contract import adapter
from polytask.model.adapters.lora import merged
from polytask.model.encoders import load_any, save_any
from polytask.model.multitask import MultiTask, TaskHead, build_task_head
from polytask.model.names import module_name_problem
from polytask.model.poolings.contract import Pooling, pooling
from polytask.model.weights import refuse_not_finite
from polytask.tasks.resolved_task import ResolvedTask
from polytask.tasks.st_modules import pooling_problem, write_modules

SCHEMA = 1
_IN_TRAINING = "has no model yet: it is being trained, and its first evaluation saves one"


@dataclass
class ModelFolder:
    """A model read back: the network, its tasks, and what deciding needs."""

    model: MultiTask
    tasks: dict[str, ResolvedTask]
    tokenizer: Path
    pooling: Pooling
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    adapter: Any = None
    """The tasks' adapters, once `release_encoder` has taken them out of the encoder."""

    def release_encoder(self) -> Any:
        """Return the encoder without the tasks' adapters, for another model to go on with."""
        encoder = self.model.encoder
        self.adapter = getattr(encoder, "adapter", None)
        if self.adapter is not None:
            encoder.adapter = None
        return encoder


def is_model_folder(path: str | Path) -> bool:
    """Return whether `path` is a folder that `save_model` wrote."""
    return read_folder(path, lambda place: ModelPaths(place).tasks.is_file())


def model_folder_of(path: str | Path) -> Path | None:
    """Return the model folder that a run or model folder has, or None."""
    return next((place for place in (Path(path), RunPaths(path).model) if is_model_folder(place)), None)


def required_model_folder(path: str | Path) -> Path:
    """Return the model folder that a run or model folder has; raise `RunError` if there is none."""
    refuse_special(Path(path))
    if (folder := model_folder_of(path)) is None:
        require_folder(path, "a run or a model folder")
        if RunFolder(path).busy:
            raise RunError(f"{path}: {_IN_TRAINING}")
        raise RunError(f"{path}: has no model; expected a run that has been evaluated once, "
                       "or a model folder")
    return folder


def new_model(encoder: nn.Module, tasks: Mapping[str, ResolvedTask], default: Pooling) -> MultiTask:
    """Build a network with a fresh head for each task."""
    shared = nn.ModuleDict()
    task_heads = {name: build_task_head(encoder, task.pooling or default, task.pairing, task.head,
                                        task.labels, task.outputs, shared)
                  for name, task in tasks.items()}
    return MultiTask(encoder, task_heads, shared)


def save_model(model: MultiTask, tasks: Mapping[str, ResolvedTask], tokenizer: Path,
               folder: str | Path, thresholds: Mapping[str, Threshold], card: str) -> None:
    """Write a model folder, in one rename."""
    with write_folder(folder) as aside:
        paths = ModelPaths(aside)
        save_any(merged(model.encoder), tokenizer, aside)
        for name, task in tasks.items():
            task_head = model.task_head(name)
            about = {"head": to_table(task.head), "pairing": to_table(task.pairing),
                     "outputs": task.outputs, "pooling": to_table(task_head.pooling)}
            _save_part(paths.head(name), task_head.state_dict(), about)
        for name, layer in model.shared.items():
            users = [task for task in tasks if name in model.task_head(task).shares]
            _save_part(paths.shared(name), layer.state_dict(), {"tasks": users})
        _save_adapter(model, paths)
        _save_modules(model, tasks, aside)
        whole = {"schema": SCHEMA, "tasks": {name: task.to_json() for name, task in tasks.items()},
                 "thresholds": dict(thresholds), "precision": model.precision}
        paths.tasks.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        paths.card.write_text(card, encoding="utf-8")


def _save_part(part: PartPaths, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    part.path.mkdir(parents=True)
    part.config.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    save_tensors(part.weights, {name: value.detach().cpu().contiguous() for name, value in state.items()})


def _save_modules(model: MultiTask, tasks: Mapping[str, ResolvedTask], folder: Path) -> None:
    """Let sentence-transformers open the folder; not with task adapters, which it would leave out."""
    first = next(iter(tasks))
    pooling = model.task_head(first).pooling
    if getattr(model.encoder, "adapter", None) is None and pooling_problem(pooling) is None:
        write_modules(folder, pooling, model.encoder, tasks[first].max_length)


def _save_adapter(model: MultiTask, paths: ModelPaths) -> None:
    adapter = getattr(model.encoder, "adapter", None)
    if adapter is None:
        return
    for task, module in adapter.tasks.items():
        _save_part(paths.adapter(task), module.state_dict(), {"type": to_table(adapter.settings)})


def load_model(folder: str | Path, dropout: float | None = None) -> ModelFolder:
    """Read a run's best model, or a model folder, which a training may be replacing meanwhile.

    Raises `CheckpointError` naming what is missing, cut short, or no part of a model, and
    `UntrustedCode` for a component of someone's own (outside `trusting`).
    """
    refuse_special(Path(folder), CheckpointError)
    model_path = model_folder_of(folder)
    if model_path is None and RunFolder(folder).busy:
        raise CheckpointError(f"{folder}: {_IN_TRAINING}")
    if model_path is None and RunPaths(folder).config.is_file():
        raise CheckpointError(f"{folder}: the run has no model yet because it was stopped before its "
                              f"first evaluation; resume it with polytask train CONFIG --out {folder} "
                              "--resume")
    if model_path is None:
        raise CheckpointError(f"{folder}: is not a model: it has no {ModelPaths(folder).tasks.name}")
    model = read_folder(model_path, lambda place: _loaded(ModelPaths(place), dropout))
    if model.tokenizer.parent == standing_aside(model_path):  # which is gone by now
        model.tokenizer = model_path / model.tokenizer.name
    return model


def _whole(paths: ModelPaths) -> dict[str, Any]:
    whole = read_json(paths.tasks, CheckpointError)
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
        schema = whole.get("schema") if isinstance(whole, dict) else whole
        raise CheckpointError(f"{paths.tasks}: found schema {str(schema)[:40]}, expected {SCHEMA}")
    return whole


def _loaded(paths: ModelPaths, dropout: float | None) -> ModelFolder:
    whole = _whole(paths)
    with untrusted(paths.path, {paths.tasks.name: whole, **_part_tables(paths, whole.get("tasks"))}):
        return _assembled(paths, whole, dropout)


def _thresholds(path: Path, whole: Mapping[str, Any], tasks: Mapping[str, ResolvedTask]
                ) -> dict[str, Threshold]:
    """Return the thresholds of a model, every task checked with its own."""
    thresholds = whole.get("thresholds", {})
    if not isinstance(thresholds, dict):
        raise CheckpointError(f"{path}: thresholds: found {str(thresholds)[:40]}, expected a table")
    for name, task in tasks.items():
        problem = stored_task_problem(task.text, task.labels, task.layout, thresholds.get(name),
                                      task.head.thresholded(task.labels))
        problem = problem or wanted_threshold_problem(task.threshold)
        if problem is not None:
            raise CheckpointError(f"{path}: tasks.{name}: {problem}")
    return thresholds


def _part_tables(paths: ModelPaths, tasks: Any) -> dict[str, Any]:
    """Return what the configs of the parts say, by their place in the folder, where they can be read."""
    tables = {}
    names = [name for name in tasks if not module_name_problem(name)] if isinstance(tasks, dict) else []
    for part in (*map(paths.head, names), *map(PartPaths, sorted(paths.adapters.glob("*")))):
        with suppress(CheckpointError):
            tables[str(part.config.relative_to(paths.path))] = read_json(part.config, CheckpointError)
    return tables


def _assembled(paths: ModelPaths, whole: Mapping[str, Any], dropout: float | None) -> ModelFolder:
    tasks = _tasks(paths.tasks, whole.get("tasks"))
    thresholds = _thresholds(paths.tasks, whole, tasks)
    if not paths.config.is_file() and paths.graphs.is_dir():
        raise CheckpointError(f"{paths.path}: holds exported graphs, not the network; load it with "
                              'engine = "onnx", or give the run that it was exported from')
    encoder, tokenizer, notes = load_any(paths.path, dropout, own=True)
    longest = getattr(encoder, "max_length", None)
    for name, task in tasks.items():
        if longest is not None and task.max_length > longest:
            raise CheckpointError(f"{paths.tasks}: tasks.{name}: max_length: found {task.max_length:,}, "
                                  f"expected at most {longest:,}, for which the encoder has positions")
    default = _pooling_of(paths.head(next(iter(tasks))))
    model = new_model(encoder, tasks, default)
    for name in tasks:
        task_head = model.task_head(name)
        task_head.pooling = _pooling_of(paths.head(name))
        _load_part(paths.head(name), task_head)
    for name, layer in model.shared.items():
        _load_part(paths.shared(name), layer)
    _load_adapter(model, paths)
    if whole.get("precision") in ("fp32", "tf32"):
        model.precision = "fp32"
    model.eval()
    return ModelFolder(model, tasks, tokenizer, default, thresholds, notes)


def _tasks(path: Path, tables: Any) -> dict[str, ResolvedTask]:
    if not isinstance(tables, dict) or not tables:
        raise CheckpointError(f"{path}: has no tasks")
    for name in tables:
        if mistake := module_name_problem(name):
            raise CheckpointError(f"{path}: task {name[:40]!r} {mistake}")
    try:
        return {name: ResolvedTask.from_json(name, table) for name, table in tables.items()}
    except PydanticCustomError as error:
        raise CheckpointError(f"{path}: {error.message()}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: is damaged "
                              f"({type(error).__name__}: {error})") from None


def _pooling_of(part: PartPaths) -> Pooling:
    about = read_json(part.config, CheckpointError)
    try:
        read: Pooling = pooling.read(about["pooling"])
    except PydanticCustomError as error:
        raise CheckpointError(f"{part.config}: {error.message()}") from None
    except ValidationError as error:
        raise CheckpointError(f"{part.config}: pooling: {error.errors()[0]['msg'].strip()}") from None
    except (TypeError, KeyError):
        raise CheckpointError(f"{part.config}: does not name a pooling") from None
    return read


def _load_part(part: PartPaths, module: nn.Module | TaskHead) -> None:
    refuse_special(part.weights, CheckpointError)
    try:
        state = load_file(part.weights)
        for key, tensor in state.items():
            refuse_not_finite(tensor, key, part.weights)
        module.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{part.weights}: cannot be read ({reason})") from None


def _load_adapter(model: MultiTask, paths: ModelPaths) -> None:
    parts = [paths.adapter(folder.name) for folder in sorted(paths.adapters.glob("*"))]
    parts = [part for part in parts if part.config.is_file()]
    if not parts:
        return
    about = read_json(parts[0].config, CheckpointError)
    try:
        settings = adapter.read(about["type"])
    except PydanticCustomError as error:
        raise CheckpointError(f"{parts[0].config}: {error.message()}") from None
    except (TypeError, KeyError):
        raise CheckpointError(f"{parts[0].config}: does not name an adapter") from None
    settings.attach(model, [part.path.name for part in parts])
    for part in parts:
        _load_part(part, model.encoder.adapter.tasks[part.path.name])


def warm_start(model: MultiTask, tasks: Mapping[str, ResolvedTask], known: ModelFolder) -> Iterator[str]:
    """Copy into a new model what a run has of the same tasks; yield what is to be said about it.

    A head goes on where its labels mean the same (kind, ordered classes, range) and its
    weights have the same shapes; the others stay as they are, freshly drawn.
    """
    fresh, kept = {name: "it is not" for name in tasks if name not in known.tasks}, []
    for name in [name for name in tasks if name in known.tasks]:
        if known.tasks[name].labels != tasks[name].labels:
            fresh[name] = "its labels differ"
        elif not _copied(known.model.task_head(name), model.task_head(name)):
            fresh[name] = "its head or features differ"
        else:
            kept.append(name)
    yield f"continues with {', '.join(kept) or 'no task'}"
    yield from (f'"{name}" starts with a fresh head: {why} there' for name, why in fresh.items())
    for name, layer in model.shared.items():
        if name in known.model.shared and not _copied(known.model.shared[name], layer):
            yield f'the shared layer "{name}" starts afresh: its size differs there'
    theirs, ours = known.adapter, getattr(model.encoder, "adapter", None)
    if theirs is None:
        return
    if ours is None:
        yield f"its {theirs.settings.name} adapters are left out: encoder.adapter is not set"
        return
    for name in theirs.tasks:
        if name in ours.tasks and not _copied(theirs.tasks[name], ours.tasks[name]):
            yield f'the adapter of "{name}" starts afresh: its sizes differ there'


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two modules have the same tensors."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key].to(left[key].device))
                                               for key in left)


def _copied(source: nn.Module, target: nn.Module) -> bool:
    """Copy the weights of one module into another of the same shapes; return whether they are."""
    loaded, own = source.state_dict(), target.state_dict()
    same = {k: v.shape for k, v in loaded.items()} == {k: v.shape for k, v in own.items()}
    if same:
        target.load_state_dict(loaded)
    return same
