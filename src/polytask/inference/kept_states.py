"""States of frozen layers, kept: every text goes through the untrained layers once.

With only the last layers trained, an epoch repeats what the first ones made of the same texts. Here
that is computed once, without dropout, into files that have no name (they vanish with the process), and
mapped into memory. A pass over kept rows equals one through all layers without dropout in the frozen
ones, to the rounding of matrix products that see other batches; in "fp16" to half precision.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.core.errors import ConfigError
from polytask.core.progress import Progress
from polytask.data.batch import LowerStates, TokenBatch
from polytask.data.collate import InputLayout, by_length, collate, ranges
from polytask.data.dataset import Split
from polytask.data.tables import Integers
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.multitask import MultiTask
from polytask.model.trainable import frozen_depth

BATCH_TOKENS = 4096
# What the disk keeps free beside the states.
_SPARE = 2**28


@dataclass(frozen=True)
class _Kept:
    split: Split  # held, so that no other split gets its id
    begins: Integers
    counts: Integers
    states: NDArray[Any]


def kept_depth(keep_frozen: str, model: MultiTask) -> int:
    """Return how many layers run once a text; 0 where none does, or the whole encoder is frozen."""
    encoder = model.encoder
    if keep_frozen == "no" or not isinstance(encoder, FlatEncoder):
        return 0
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        return 0  # pooled vectors are kept instead, and there is no dropout to switch off
    return frozen_depth(encoder)


class KeptStates:
    """The states after the first `depth` layers, of whole splits: filled by `keep`, read by `attach`."""

    def __init__(self, model: MultiTask, depth: int, precision: str, gigabytes: float,
                 folder: Path) -> None:
        self.model, self.depth, self.folder = model, depth, folder
        self.kind = np.dtype(np.float16 if precision == "fp16" else np.float32)
        self.room = int(gigabytes * 1e9)
        self.used, self.texts = 0, 0
        self.left_out: list[str] = []
        self._kept: dict[tuple[int, InputLayout], _Kept] = {}

    def keep(self, name: str, split: Split, layout: InputLayout, bar: Progress) -> None:
        """Compute and keep the states of a split's rows, if there is room; else note it in `left_out`.

        Raises `ConfigError` where a state is too large for half precision.
        """
        if (id(split), layout) in self._kept:
            bar.skip(len(split))
            return
        counts = split.lengths(layout).kept.sum(axis=1)
        shape = (int(counts.sum()), self.model.encoder.width)
        size = shape[0] * shape[1] * self.kind.itemsize
        states = self._allocated(shape, size) if 0 < size <= self.room - self.used else None
        if states is None:
            self.left_out.append(f"{name} {split.name} ({size / 1e9:.1f} GB)")
            bar.skip(len(split))
            return
        begins = np.cumsum(counts) - counts
        self._fill(split, layout, counts, begins, states, bar)
        self.used, self.texts = self.used + size, self.texts + len(split)
        self._kept[id(split), layout] = _Kept(split, begins, counts, states)

    def attach(self, batch: TokenBatch,
               microbatches: list[tuple[Split, InputLayout, Integers]]) -> TokenBatch:
        """Return a batch with the kept states of its tokens, or unchanged if some are not kept."""
        parts = []
        for split, layout, rows in microbatches:
            kept = self._kept.get((id(split), layout))
            if kept is None:
                return batch
            parts.append(kept.states[ranges(kept.begins[rows], kept.counts[rows])])
        states = torch.from_numpy(np.concatenate(parts)).float()
        return replace(batch, lower=LowerStates(self.depth, states))

    def __deepcopy__(self, _: dict[int, Any]) -> KeptStates:
        return self  # a copy of the model reads the same files

    def note(self) -> str:
        """Say what is kept, and what is not."""
        text = (f"the first {self.depth} of {self.model.encoder.num_layers} layers are frozen: they read "
                f"each text once, without dropout; {self.used / 1e9:.2f} GB of states of {self.texts:,} "
                f"rows are kept in {self.folder} until training ends (encoder.keep_frozen)")
        if self.left_out:
            text += f"; no room for {', '.join(self.left_out)} (encoder.keep_frozen_gb)"
        return text

    def _allocated(self, shape: tuple[int, int], size: int) -> NDArray[Any] | None:
        """Return an array in a file without a name, its room taken on the disk; None where none is."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < size + _SPARE:
                return None
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # A page without a block behind it would end the process when the disk is full.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
                mapped = np.memmap(file, self.kind, "r+", 0, shape)
        except OSError:
            return None
        # A plain view: slicing np.memmap itself costs several times more.
        return mapped.view(np.ndarray)

    @torch.inference_mode()
    def _fill(self, split: Split, layout: InputLayout, counts: Integers, begins: Integers,
              states: NDArray[Any], bar: Progress) -> None:
        encoder = self.model.encoder
        device = next(encoder.parameters()).device
        was = encoder.training
        encoder.eval()
        for rows in by_length(counts, BATCH_TOKENS):
            batch = collate([split.select("", layout, rows)], split.special_tokens).to(device)
            with np.errstate(over="ignore"):  # what does not fit is refused below
                computed = encoder.lower(batch, self.depth).float().cpu().numpy().astype(self.kind)
            if not np.isfinite(computed).all():
                raise ConfigError("encoder.keep_frozen: a state is too large for half precision; "
                                  'use "fp32"')
            states[ranges(begins[rows], counts[rows])] = computed
            bar.advance(len(rows))
        encoder.train(was)
