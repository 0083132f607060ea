"""Exported graphs at work with ONNX Runtime, tokenizers and numpy: the answers of `Model` without torch.

What a graph is for (its tasks, labels, thresholds, layouts, outputs) stands in its own metadata, under
the key "polytask"; only the tokenizer lies beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import CheckpointError, ConfigError, MissingExtra, RunError
from polytask.core.paths import ModelPaths, RunPaths
from polytask.core.safe_paths import require_folder
from polytask.data.collate import InputLayout, Selection, by_length, lay
from polytask.data.dataset import Split
from polytask.data.decisions import Decision, Threshold, above, chosen, clipped
from polytask.data.file_format import FileFormat
from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.data.tokenization import SpecialTokens, Tokenizer
from polytask.inference.contract import Predictor, listed_texts, text_rows

SCHEMA = 1
METADATA = "polytask"
EMBEDDING = "sentence_embedding"

BATCH_TOKENS = 2048
# Lengths are padded to a multiple of this, so that no sum over a sequence is cut into vectors and a
# remainder in another way when a longer text stands beside it: a text's answer is its own.
_MULTIPLE = 16

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class ExportedTask:
    """What a graph's metadata say of a task.

    activated: the output with what the labels are decided by: the probabilities, or the score in the
    labels' own range; `one_number`: the head has one output for two classes.
    """

    name: str
    text: tuple[str, ...]
    label: str | tuple[str, ...]
    labels: Labels
    id: str | None
    layout: InputLayout
    logits: str | None
    activated: str
    one_number: bool
    threshold: Threshold | None
    file_format: FileFormat
    where: dict[str, Any] | None

    @property
    def max_length(self) -> int:
        return self.layout.max_length

    def to_json(self) -> dict[str, Any]:
        """Return what a graph's metadata keep of the task."""
        return {"text": list(self.text), "label": self.label, "labels": self.labels.to_json(),
                "id": self.id, "layout": vars(self.layout), "logits": self.logits,
                "activated": self.activated, "one_number": self.one_number, "threshold": self.threshold,
                "files": self.file_format.to_json(), "where": self.where}

    @classmethod
    def from_json(cls, name: str, table: Mapping[str, Any]) -> ExportedTask:
        """Read a task back from a graph's metadata."""
        label = table["label"]
        return cls(name, tuple(table["text"]), label if isinstance(label, str) else tuple(label),
                   Labels.from_json(table["labels"]),
                   table["id"], InputLayout(**table["layout"]), table["logits"], table["activated"],
                   bool(table["one_number"]), table["threshold"],
                   FileFormat.from_json(table["files"]), table["where"])

    def decide(self, activated: NDArray[np.float32]) -> Decision:
        """Return labels and scores from the task's activated output."""
        values = activated.astype(np.float64)
        if self.labels.is_regression:
            return clipped(values, self.labels)
        if self.logits is None:
            return above(values, self.threshold)
        return chosen(values[:, 1] if self.one_number else values, self.labels, self.threshold)


@dataclass(frozen=True)
class GraphInfo:
    """What a graph says of itself."""

    tasks: dict[str, ExportedTask]
    embedding: InputLayout
    pooling: str
    tokenizer: str
    """Digest of the tokenizer.json that its ids come from."""

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, "pooling": self.pooling, "tokenizer": self.tokenizer,
                           "embedding": vars(self.embedding),
                           "tasks": {name: task.to_json() for name, task in self.tasks.items()}},
                          ensure_ascii=False)

    @classmethod
    def read(cls, metadata: Mapping[str, str], where: Path) -> GraphInfo:
        """Read a graph's metadata; raise `CheckpointError` for a graph that is not polytask's."""
        if METADATA not in metadata:
            raise CheckpointError(f'{where}: is an ONNX graph of another program: its metadata has no '
                                  f'"{METADATA}"; expected one that polytask export wrote')
        try:
            table = json.loads(metadata[METADATA])
            if table["schema"] != SCHEMA:
                raise CheckpointError(f"{where}: found metadata of schema {table['schema']!r}, expected "
                                      f"{SCHEMA}; export the run again")
            return cls({name: ExportedTask.from_json(name, task) for name, task in table["tasks"].items()},
                       InputLayout(**table["embedding"]), table["pooling"], table["tokenizer"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{where}: its metadata cannot be read ({error!r}); export the run "
                                  "again") from None


class OnnxModel(Predictor[ExportedTask]):
    """A model that ONNX Runtime computes. Thread-safe: nothing in it changes."""

    def __init__(self, graph: Path, tokenizer: Path, threads: int | None = None,
                 optimized: bool = True) -> None:
        self.session = open_graph(graph, threads, optimized)
        self.info = GraphInfo.read(self.session.get_modelmeta().custom_metadata_map, graph)
        if tokenizer_digest(tokenizer) != self.info.tokenizer:
            raise CheckpointError(f"{tokenizer}: is not the tokenizer that {graph.name} was exported with; "
                                  "export the run again")
        super().__init__(graph.parent.parent, self.info.tasks, Tokenizer(tokenizer))
        self.tokenizer_file = tokenizer
        self.engine = "int8" if graph.name == ModelPaths(graph.parent).graph(int8=True).name else "onnx"

    @property
    def thresholds(self) -> dict[str, Threshold]:
        return {name: task.threshold for name, task in self.tasks.items() if task.threshold is not None}

    def decide(self, tasks: Sequence[ExportedTask], split: Split) -> dict[str, Decision]:
        """Return the labels and scores of several tasks for the same rows."""
        decisions: dict[str, Decision] = {}
        for layout in dict.fromkeys(task.layout for task in tasks):
            group = [task for task in tasks if task.layout == layout]
            values = self.run(layout, [task.activated for task in group], split)
            decisions |= {task.name: task.decide(values[task.activated]) for task in group}
        return {task.name: decisions[task.name] for task in tasks}

    def embed(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the pooled vector of each text: (texts, width) float32."""
        return self.run(self.info.embedding, [EMBEDDING], self.texts(texts))[EMBEDDING]

    def texts(self, texts: Iterable[str]) -> Split:
        """Return single texts as rows of no task."""
        return self._store.unlabeled(text_rows(listed_texts(texts), 1, ""))

    def run(self, layout: InputLayout, outputs: Sequence[str], split: Split,
            rows: Integers | None = None) -> Arrays:
        """Return outputs of the graph for rows of a split (absent: all), in their order."""
        rows = np.arange(len(split)) if rows is None else rows
        lengths = split.lengths(layout).kept[rows].sum(axis=1)
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
        order = []
        for places in by_length(lengths, BATCH_TOKENS):
            fed = padded(split.select("", layout, rows[places]), split.special_tokens)
            for name, values in zip(outputs, self.session.run(list(outputs), fed), strict=True):
                parts[name].append(values)
            order.append(places)
        if not order:
            return {output.name: np.zeros([0, *(n for n in output.shape[1:])], np.float32)
                    for output in self.session.get_outputs() if output.name in outputs}
        back = np.argsort(np.concatenate(order), kind="stable")
        return {name: np.concatenate(chunks)[back] for name, chunks in parts.items()}


def padded(selection: Selection, special_tokens: SpecialTokens) -> dict[str, NDArray[np.int64]]:
    """Return rows as the graph's inputs, each (sequences, longest) int64."""
    ids, segments, lengths = lay(selection, special_tokens)
    longest = -(-int(lengths.max()) // _MULTIPLE) * _MULTIPLE
    mask = np.arange(longest) < lengths[:, None]
    fed = {"input_ids": np.full(mask.shape, special_tokens.pad, np.int64),
           "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros(mask.shape, np.int64)}
    fed["input_ids"][mask], fed["token_type_ids"][mask] = ids, segments
    return fed


def open_graph(graph: Path, threads: int | None = None, optimized: bool = True) -> Any:
    """Return a session of ONNX Runtime; raise `CheckpointError` for a file that it cannot read.

    threads: of one pass; absent, as many as OMP_NUM_THREADS says, or as there are cores.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("running an exported graph", "export") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Waiting threads that spin take cores from other programs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # ONNX Runtime does not read OMP_NUM_THREADS, by which workers share the cores of a machine.
    options.intra_op_num_threads = threads or _threads_of_environment()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises classes of its own, derived from Exception alone
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{graph}: is not a whole ONNX graph ({reason}); export the run "
                              "again") from None


def _threads_of_environment() -> int:
    """Return what OMP_NUM_THREADS says, of a list its first number; 0, which leaves it to ONNX Runtime."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0


def tokenizer_digest(path: Path) -> str:
    """Return what names a tokenizer.json by its content."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: the tokenizer cannot be read ({error})") from None


def load_onnx(folder: str | Path, int8: bool = False, threads: int | None = None) -> OnnxModel:
    """Read the exported graph of a run, a model folder or an export, fp32 or int8.

    Raises `RunError` where there is none, `CheckpointError` for one that is damaged or not polytask's.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads: found {threads}, expected 1 or more")
    for place in (ModelPaths(folder), ModelPaths(RunPaths(folder).model)):
        if place.graph(int8).is_file():
            return OnnxModel(place.graph(int8), place.tokenizer, threads)
    require_folder(folder, "a run or an export")
    name = ModelPaths(folder).graph(int8).relative_to(folder)
    raise RunError(f"{folder}: has no {name}; write it with polytask export {folder} --to onnx"
                   + " --int8" * int8)
