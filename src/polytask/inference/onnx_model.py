"""Exported graphs at work with ONNX Runtime, tokenizers and numpy: the answers of `Model` without torch.

What a graph is for (its tasks, labels, thresholds, layouts, outputs) stands in its own metadata, under
the key "polytask"; only the tokenizer lies beside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import CheckpointError, ConfigError, MissingExtra, RunError
from polytask.core.paths import ModelPaths, RunPaths
from polytask.core.safe_paths import require_folder
from polytask.data.collate import InputLayout
from polytask.data.dataset import Split
from polytask.data.decisions import Decision, Threshold
from polytask.data.tables import Integers
from polytask.data.tokenization import Tokenizer
from polytask.inference.contract import Predictor, listed_texts, text_rows
from polytask.inference.graph_batches import graph_batches, padded, pass_tokens
from polytask.inference.graph_info import EMBEDDING, ExportedTask, GraphInfo

Arrays = dict[str, NDArray[np.float32]]


class OnnxModel(Predictor[ExportedTask]):
    """A model that ONNX Runtime computes. Thread-safe: nothing in it changes."""

    def __init__(self, graph: Path, tokenizer: Path, threads: int | None = None,
                 optimized: bool = True) -> None:
        self.session = open_graph(graph, threads, optimized)
        self.pass_tokens = pass_tokens(threads or _threads_of_environment() or _free_cores())
        self.info = GraphInfo.read(self.session.get_modelmeta().custom_metadata_map, graph)
        ends = ({end.name: end.shape for end in each}
                for each in (self.session.get_inputs(), self.session.get_outputs()))
        if (problem := self.info.graph_problem(*ends)) is not None:
            raise CheckpointError(f"{graph}: {problem}; export the run again")
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
        lengths = split.lengths(layout).kept[rows]
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
        order = []
        for places in graph_batches(lengths, self.pass_tokens):
            fed = padded(split.select("", layout, rows[places]), split.special_tokens)
            for name, values in zip(outputs, self.session.run(list(outputs), fed), strict=True):
                parts[name].append(values)
            order.append(places)
        if not order:
            return {output.name: np.zeros([0, *(n for n in output.shape[1:])], np.float32)
                    for output in self.session.get_outputs() if output.name in outputs}
        back = np.argsort(np.concatenate(order), kind="stable")
        return {name: np.concatenate(chunks)[back] for name, chunks in parts.items()}


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


def _free_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
