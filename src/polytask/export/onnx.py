"""A model as one ONNX graph: the encoder once, every head, the sentence embedding."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from polytask.core.errors import ConfigError, MissingExtra
from polytask.data.collate import InputLayout
from polytask.data.decisions import Threshold
from polytask.export.graph import ExportedNetwork, TaskOutputs
from polytask.inference.graph_info import INPUTS, METADATA, ExportedTask, GraphInfo
from polytask.inference.onnx_model import tokenizer_digest
from polytask.model.multitask import MultiTask
from polytask.model.poolings.contract import Pooling
from polytask.tasks.model_folder import ModelFolder
from polytask.tasks.resolved_task import ResolvedTask

OPSET = 20
PRODUCER = "polytask"


def graph_info(loaded: ModelFolder) -> GraphInfo:
    """Return what the graph of a model says of itself."""
    tasks = {name: exported_task(task, loaded.thresholds.get(name)) for name, task in loaded.tasks.items()}
    first = next(iter(loaded.tasks.values()))
    return GraphInfo(tasks, InputLayout(1, 1, first.max_length), loaded.pooling.name,
                     tokenizer_digest(loaded.tokenizer))


def exported_task(task: ResolvedTask, threshold: Threshold | None) -> ExportedTask:
    """Return what an engine without torch needs to know of a task."""
    outputs = TaskOutputs.of(task)
    return ExportedTask(task.name, task.text, task.label, task.labels, task.id,
                        InputLayout.of(task.pairing, task.max_length), outputs.logits, outputs.activated,
                        task.labels.kind == "binary" and task.outputs == 1, threshold,
                        task.file_format, task.where)


def export_graph(model: MultiTask, tasks: Mapping[str, ResolvedTask], pooling: Pooling,
                 info: GraphInfo) -> Any:
    """Return a model as an `onnx.ModelProto` of opset 20, `info` in its metadata.

    Inputs: input_ids, attention_mask, token_type_ids (batch, length) int64. Outputs:
    sentence_embedding (batch, width), and for each task <task>_logits and <task>_probabilities, or
    <task>_score in the labels' own range; a task of several sequences a row has them next to each other.

    Raises `ConfigError` for a part that a graph cannot express.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch.onnx needs it)
    except ImportError:
        raise MissingExtra("polytask export --to onnx", "export") from None
    network = ExportedNetwork(model, tasks, pooling)
    length = torch.export.Dim("length", max=int(model.encoder.max_length))
    dims = {name: {0: torch.export.Dim("batch"), 1: length} for name in INPUTS}
    # At least 2 x 2: sizes of 0 and 1 would be taken for constants.
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    example = (torch.ones_like(mask) * mask, mask, torch.zeros_like(mask))
    with torch.no_grad(), _quiet(), io.StringIO() as printed, contextlib.redirect_stdout(printed):
        try:
            program = torch.onnx.export(network, example, dynamo=True, dynamic_shapes=dims,
                                        opset_version=OPSET, input_names=list(INPUTS),
                                        output_names=network.output_names, external_data=False,
                                        verbose=False)
        except Exception as error:  # the exporter raises what it pleases
            why = " ".join(str(error).split())[:200]
            raise ConfigError(f"the network cannot be exported ({type(error).__name__}: {why}); serve the "
                              "run with torch") from None
    assert program is not None
    proto = program.model_proto
    proto.producer_name = PRODUCER
    del proto.graph.value_info[:]
    _strip(proto.graph)
    add_metadata(proto, info)
    onnx.checker.check_model(proto)
    return proto


def add_metadata(proto: Any, info: GraphInfo) -> None:
    """Write what a graph is for into its metadata, so that the file alone says it."""
    del proto.metadata_props[:]
    proto.metadata_props.add(key=METADATA, value=info.to_json())


def save_graph(proto: Any, path: Path) -> None:
    """Write a graph into a folder that is being filled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString())


def _strip(graph: Any) -> None:
    """Drop the exporter's notes on every node: stack traces with the paths of this machine."""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*graph.input, *graph.output, *graph.initializer]:
        del value.metadata_props[:]
        value.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress and its warnings about itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
