"""The folder of an ONNX export: graphs, tokenizer, tasks and card, so that nothing else is needed.

    onnx/model.onnx   onnx/model_qint8.onnx   tokenizer.json   tasks.json   README.md
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from polytask.core.atomic_files import aside_folder, write_file, write_folder
from polytask.core.errors import ConfigError, RunError
from polytask.core.leftovers import tidy
from polytask.core.paths import ModelPaths
from polytask.data.dataset import Split
from polytask.export.check import TOLERANCE, GraphCheck, check_graph
from polytask.export.hub_card import read_card
from polytask.export.int8 import quantized
from polytask.export.onnx import export_graph, graph_info, save_graph
from polytask.inference.graph_info import EMBEDDING
from polytask.inference.onnx_model import OnnxModel
from polytask.inference.predictor import Model
from polytask.tasks.model_folder import ModelFolder

CHECK_ROWS = 500
_HEADING = "## ONNX"


def export_onnx(loaded: ModelFolder, source: Path, out: Path | None, int8: bool,
                splits: Mapping[str, Split], rows: int = CHECK_ROWS) -> list[GraphCheck]:
    """Write a model's graphs, each compared with the model on real rows; return the comparisons.

    source: the model folder; without `out` the graphs go into it. Raises `ConfigError`, and writes
    nothing, where the graph in float32 differs by more than 1e-4.
    """
    refuse_taken(out)
    model = Model(loaded, source)
    card = ModelPaths(source).card
    text = read_card(source)
    with _filled(source, out) as place:
        proto = export_graph(loaded.model, loaded.tasks, loaded.pooling, graph_info(loaded))
        protos = {"onnx": proto} | ({"int8": quantized(proto)} if int8 else {})
        checks = []
        for engine, variant in protos.items():
            path = place.graph(engine == "int8")
            save_graph(variant, path)
            size = path.stat().st_size / 1e6
            graph = OnnxModel(path, loaded.tokenizer, threads=1)
            checks.append(check_graph(f"{path.parent.name}/{path.name}", size, model, graph, splits, rows))
            if engine == "onnx" and not checks[0].worst <= TOLERANCE:
                raise ConfigError(f"the graph differs from the model by {checks[0].worst:.1e}, expected at "
                                  f"most {TOLERANCE:g}; nothing was written")
        text = _carded(text, checks)
        if out is not None:
            shutil.copyfile(loaded.tokenizer, place.tokenizer)
            shutil.copyfile(ModelPaths(source).tasks, place.tasks)
            place.card.write_text(text, encoding="utf-8")
    if out is None:
        write_file(card, text)
    return checks


def refuse_taken(out: Path | None) -> None:
    """Raise `RunError` for a path that exists and is not an empty folder: no export may replace it."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: already exists; give another --out, or remove it")


@contextmanager
def _filled(source: Path, out: Path | None) -> Iterator[ModelPaths]:
    """Give the folder to fill: of its own, or one whose graphs then take their place in the model's."""
    if out is not None:
        with write_folder(out) as folder:
            yield ModelPaths(folder)
        return
    tidy(source)
    with aside_folder(ModelPaths(source).graphs) as aside:
        place = ModelPaths(aside)
        yield place
        with write_folder(ModelPaths(source).graphs) as folder:
            for file in place.graphs.iterdir():
                file.rename(folder / file.name)


def _carded(card: str, checks: Sequence[GraphCheck]) -> str:
    """Return a card with the section about the graphs, in place of an older one."""
    kept = re.sub(rf"\n*{_HEADING}\n.*?(?=\n## |\Z)", "", card, flags=re.DOTALL).rstrip()
    lines = [_HEADING, "", "Inputs: `input_ids`, `attention_mask`, `token_type_ids` (batch, length); "
             f"padding costs linear layers nothing. Outputs: `{EMBEDDING}`, and of each task "
             "`<task>_logits` and `<task>_probabilities`, or `<task>_score` in the labels' own range. The "
             "sequences of a row that has several stand next to each other. Labels, thresholds and layouts "
             'are in the metadata under "polytask".', "",
             "| graph | MB | " + " | ".join(f"ms for {n}" for n, _ in checks[0].milliseconds) + " |",
             "|---" * (2 + len(checks[0].milliseconds)) + "|"]
    lines += [f"| `{check.name}` | {check.megabytes:.1f} | "
              + " | ".join(f"{ms:.1f}" for _, ms in check.milliseconds) + " |" for check in checks]
    lines += ["", "One thread, on the machine that exported, which may have been busy: trust the ratios, "
                  "not the times. Against the model itself:", "",
              "| graph | task | rows | score | labels kept | largest difference | mean |", "|---" * 7 + "|"]
    for check in checks:
        for task in check.tasks:
            scored = "–" if task.scores is None else (f"{task.metric} {task.scores[0]:.4f} → "
                                                      f"{task.scores[1]:.4f}")
            kept = "–" if task.kept is None else f"{task.kept:.2%}"
            lines.append(f"| `{Path(check.name).name}` | {task.task} | {task.rows} | {scored} | {kept} | "
                         f"{task.difference:.1e} | {task.drift:.1e} |")
    lines += ["", "```python", "import polytask as pk  # with onnxruntime and tokenizers; no torch", "",
              'model = pk.load("this/folder", engine="' + ("int8" if len(checks) > 1 else "onnx") + '")',
              "```", ""]
    return "\n".join([kept, "", *lines] if kept else lines)
