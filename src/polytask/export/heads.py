"""A task's head as plain linear layers, for libraries that know nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer, processors
from torch import nn

from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import ConfigError
from polytask.data.decisions import Threshold
from polytask.data.tokenization import SpecialTokens
from polytask.model.heads.dense import Dense
from polytask.model.heads.shared import SharedHead
from polytask.model.multitask import TaskHead
from polytask.tasks.resolved_task import ResolvedTask
from polytask.tasks.st_modules import DenseLayer

OPEN_DOORS = "open to it: --to onnx, pk.load, polytask serve"


def dense_layers(task: ResolvedTask, task_head: TaskHead) -> list[DenseLayer]:
    """Return a head's linear layers, the range of a regression in the last one.

    Raises `ConfigError` for a head that is none of them. What is cut off at the ends of the range is not.
    """
    module = task_head.head
    if isinstance(module, Dense):
        parts = list(module.layers)
    elif isinstance(module, SharedHead):
        rest = module.rest
        assert isinstance(rest, nn.Sequential)
        parts = [module._first[0], *rest]
    else:
        raise ConfigError(f'tasks.{task.name}.head: "{task.head.name}" is not a chain of linear layers, '
                          f"which is all that other libraries load; {OPEN_DOORS}")
    layers: list[DenseLayer] = []
    for part in parts:
        if isinstance(part, nn.Linear):
            layers.append(DenseLayer(part.weight.detach(), part.bias.detach()))
        elif isinstance(part, nn.ReLU | nn.LeakyReLU | nn.GELU | nn.Tanh):
            layers[-1] = replace(layers[-1], activation=type(part))
    labels = task.labels
    if labels.is_regression and labels.unit:
        last, size = layers[-1], labels.high - labels.low
        layers[-1] = replace(last, weight=last.weight * size, bias=last.bias * size + labels.low)
    return layers


def write_tokenizer(source: Path, task: ResolvedTask, folder: Path) -> bool:
    """Write a tokenizer.json that lays a task's texts as the task was trained; return whether it differs.

    A pair without [SEP] between, or without segments, is a matter of the tokenizer's template.
    """
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    special = SpecialTokens.of(tokenizer)
    pairing = task.pairing
    separator, segments = getattr(pairing, "separator", True), getattr(pairing, "segments", True)
    changed = pairing.texts == 2 and not (separator and (segments or not special.second))
    if changed:
        second = special.second if segments else 0
        named = {number: str(tokenizer.id_to_token(number))
                 for number in (*special.start, *special.middle, *special.end)}

        def laid(tokens: tuple[int, ...], segment: int) -> list[str]:
            return [f"{named[number]}:{segment}" for number in tokens]

        middle = laid(special.middle, 0) if separator else []
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*laid(special.start, 0), "$A:0", *laid(special.end, 0)],
            pair=[*laid(special.start, 0), "$A:0", *middle, f"$B:{second}", *laid(special.end, second)],
            special_tokens=[(token, number) for number, token in named.items()])
    tokenizer.save(str(EncoderPaths(folder).tokenizer))
    return changed


def thresholds_applied(task: ResolvedTask, threshold: Threshold) -> str:
    """Return which thresholds the model itself applies, for formats that know none."""
    cuts = [threshold] if isinstance(threshold, float) else threshold
    names = [task.labels.positive or "yes"] if isinstance(threshold, float) else task.labels.classes
    cutoffs = ", ".join(f"{name} from {cut:.4f} on" for name, cut in zip(names, cuts, strict=False))
    return f"The model itself applies thresholds ({cutoffs})"
