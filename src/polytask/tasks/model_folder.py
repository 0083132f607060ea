"""A model folder: a Hugging Face encoder at its root, and beside it what makes it answer tasks.

    config.json model.safetensors tokenizer.json …   opens with transformers.AutoModel
    heads/<task>/{config.json, model.safetensors}    shared/<name>/   adapters/<task>/
    tasks.json                                       README.md (the model card)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from polytask.core.atomic_files import recover, save_tensors, write_folder
from polytask.core.errors import CheckpointError
from polytask.core.settings import to_table
from polytask.model.adapters.contract import adapter
from polytask.model.adapters.lora import merged
from polytask.model.encoders import load_any, save_any
from polytask.model.multitask import MultiTask, TaskHead, build_task_head
from polytask.model.poolings.contract import Pooling, pooling
from polytask.tasks.task import ResolvedTask

SCHEMA = 1


@dataclass
class ModelFolder:
    """A model read back: the network, its tasks, and what deciding needs."""

    model: MultiTask
    tasks: dict[str, ResolvedTask]
    tokenizer: Path
    pooling: Pooling
    thresholds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def is_model_folder(path: str | Path) -> bool:
    """Return whether `path` is a folder that `save_model` wrote."""
    return (Path(path) / "tasks.json").is_file()


def model_folder_of(path: str | Path) -> Path | None:
    """Return the model folder that a run or model folder has, or None."""
    path = Path(path)
    for each in (path, path / "model"):
        recover(each)
        if is_model_folder(each):
            return each
    return None


def new_model(encoder: nn.Module, tasks: Mapping[str, ResolvedTask], default: Pooling) -> MultiTask:
    """Build a network with a fresh task_head for each task."""
    shared = nn.ModuleDict()
    task_heads = {name: build_task_head(encoder, task.pooling or default, task.pairing, task.head,
                                   task.labels, task.outputs, shared)
                for name, task in tasks.items()}
    return MultiTask(encoder, task_heads, shared)


def save_model(model: MultiTask, tasks: Mapping[str, ResolvedTask], tokenizer: Path,
               folder: str | Path, thresholds: Mapping[str, float], card: str) -> None:
    """Write a model folder, in one rename."""
    with write_folder(folder) as aside:
        save_any(merged(model.encoder), tokenizer, aside)
        for name, task in tasks.items():
            task_head = model.task_head(name)
            about = {"head": to_table(task.head), "pairing": to_table(task.pairing),
                     "outputs": task.outputs, "pooling": to_table(task_head.pooling)}
            _save_part(aside / "heads" / name, task_head.state_dict(), about)
        for name, layer in model.shared.items():
            users = [task for task in tasks if name in model.task_head(task).shares]
            _save_part(aside / "shared" / name, layer.state_dict(), {"tasks": users})
        _save_adapter(model, aside)
        whole = {"schema": SCHEMA, "tasks": {name: task.to_json() for name, task in tasks.items()},
                 "thresholds": dict(thresholds)}
        (aside / "tasks.json").write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n",
                                          encoding="utf-8")
        (aside / "README.md").write_text(card, encoding="utf-8")


def _save_part(folder: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    save_tensors(folder / "model.safetensors",
                 {name: value.detach().cpu().contiguous() for name, value in state.items()})


def _save_adapter(model: MultiTask, folder: Path) -> None:
    adapter = getattr(model.encoder, "adapter", None)
    if adapter is None:
        return
    for task, module in adapter.tasks.items():
        _save_part(folder / "adapters" / task, module.state_dict(), {"type": to_table(adapter.settings)})


def load_model(folder: str | Path, dropout: float | None = None) -> ModelFolder:
    """Read a model folder; raise `CheckpointError` naming what is missing or cut short."""
    found = model_folder_of(folder)
    if found is None:
        raise CheckpointError(f"{folder}: is no model, it has no tasks.json")
    try:
        whole = json.loads((found / "tasks.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{found / 'tasks.json'}: cannot be read ({error})") from None
    if whole.get("schema") != SCHEMA:
        raise CheckpointError(f"{found / 'tasks.json'}: found schema {whole.get('schema')!r}, "
                              f"expected {SCHEMA}")
    try:
        tasks = {name: ResolvedTask.from_json(name, table) for name, table in whole["tasks"].items()}
    except PydanticCustomError as error:
        raise CheckpointError(f"{found / 'tasks.json'}: {error.message()}") from None
    encoder, tokenizer, notes = load_any(found, dropout)
    default = _pooling_of(found, next(iter(tasks)))
    model = new_model(encoder, tasks, default)
    for name in tasks:
        task_head = model.task_head(name)
        task_head.pooling = _pooling_of(found, name)
        _load_part(found / "heads" / name, task_head)
    for name, layer in model.shared.items():
        _load_part(found / "shared" / name, layer)
    _load_adapter(model, found)
    model.eval()
    return ModelFolder(model, tasks, tokenizer, default, whole.get("thresholds", {}), notes)


def _pooling_of(folder: Path, task: str) -> Pooling:
    path = folder / "heads" / task / "config.json"
    try:
        made: Pooling = pooling.read(json.loads(path.read_text(encoding="utf-8"))["pooling"])
    except PydanticCustomError as error:
        raise CheckpointError(f"{path}: {error.message()}") from None
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    return made


def _load_part(folder: Path, module: nn.Module | TaskHead) -> None:
    path = folder / "model.safetensors"
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"{path}: cannot be read ({said})") from None


def _load_adapter(model: MultiTask, folder: Path) -> None:
    places = sorted((folder / "adapters").glob("*/config.json"))
    if not places:
        return
    kind = json.loads(places[0].read_text(encoding="utf-8"))["type"]
    adapter.read(kind).attach(model, [place.parent.name for place in places])
    for place in places:
        _load_part(place.parent, model.encoder.adapter.tasks[place.parent.name])


def warm_start(model: MultiTask, tasks: Mapping[str, ResolvedTask], known: ModelFolder) -> Iterator[str]:
    """Copy into a new model what a run has of the same tasks; yield what is to be said about it.

    A task_head goes on where its labels mean the same (kind, classes in their order, range) and its
    weights have the same shapes; the others stay as they are, freshly drawn.
    """
    fresh, kept = {name: "it is not" for name in tasks if name not in known.tasks}, []
    for name in [name for name in tasks if name in known.tasks]:
        if known.tasks[name].labels != tasks[name].labels:
            fresh[name] = "its labels are others"
        elif not _copied(known.model.task_head(name), model.task_head(name)):
            fresh[name] = "its head or features are others"
        else:
            kept.append(name)
    yield f"goes on with {', '.join(kept) or 'no task'}"
    yield from (f'"{name}" starts with a fresh head, {why} there' for name, why in fresh.items())
    for name, layer in model.shared.items():
        if name in known.model.shared and not _copied(known.model.shared[name], layer):
            yield f'the shared layer "{name}" starts afresh, its size is another there'
    theirs, ours = (getattr(each.encoder, "adapter", None) for each in (known.model, model))
    if theirs is None:
        return
    if ours is None:
        yield f"its {theirs.settings.name} adapters are left out, encoder.adapter names none"
        return
    for name in theirs.tasks:
        if name in ours.tasks and not _copied(theirs.tasks[name], ours.tasks[name]):
            yield f'the adapter of "{name}" starts afresh, its sizes are others there'


def _copied(source: nn.Module, target: nn.Module) -> bool:
    """Copy the weights of one module into another of the same shapes; return whether they are."""
    held, own = source.state_dict(), target.state_dict()
    same = {k: v.shape for k, v in held.items()} == {k: v.shape for k, v in own.items()}
    if same:
        target.load_state_dict(held)
    return same
