"""Which sequences of a flat batch attend together: those of like length, in blocks padded a little.

The plan of a batch is made once and used by every layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from polytask.data.batch import on_device


@dataclass(frozen=True)
class Block:
    """Sequences that attend together, padded to one length."""

    sequences: int
    length: int
    rows: slice
    """The block's slice, of sequences · length places, of the places of all blocks."""
    mask: Tensor | None
    """(sequences, 1, 1 or length, length): 0 where a query sees a key, else -inf; None: it sees all."""


@dataclass(frozen=True)
class Plan:
    """Where every token of a flat batch stands in the blocks, and back."""

    blocks: tuple[Block, ...]
    into: Tensor
    """(places,) the token at each place; at padding, the first token of the same sequence."""
    back: Tensor
    """(tokens,) the place of each token."""
    padding: Tensor
    """The places that are padding."""

    @property
    def places(self) -> int:
        return int(self.into.shape[0])


def planned(lengths: tuple[int, ...], device: torch.device, window: int | None = None) -> Plan:
    """Group sequences by length; the same lengths and window soon after give the same plan object."""
    return _planned(lengths, device) if window is None else _windowed(lengths, device, window)


@lru_cache(maxsize=256)
def _planned(lengths: tuple[int, ...], device: torch.device) -> Plan:
    return _plan(lengths, device, None)


@lru_cache(maxsize=8)  # a window's masks are a number for each query and key
def _windowed(lengths: tuple[int, ...], device: torch.device, window: int) -> Plan:
    return _plan(lengths, device, window)


@torch.inference_mode(False)  # a later pass may have to save the tensors for its gradient
def _plan(lengths: tuple[int, ...], device: torch.device, window: int | None) -> Plan:
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    blocks: list[Block] = []
    into, padding, place = [], [], 0
    back = torch.empty(starts[-1], dtype=torch.long)
    for group in groups_of_like_length(lengths):
        # Vector units take eight keys at a time, so a length of 25 costs more than one of 32.
        longest = -(-lengths[group[0]] // 8) * 8
        first = torch.tensor([starts[s] for s in group])[:, None]
        real = torch.arange(longest) < torch.tensor([lengths[s] for s in group])[:, None]
        tokens = torch.where(real, first + torch.arange(longest), first)    # (n, longest)
        places = place + torch.arange(tokens.numel()).view_as(tokens)
        back[tokens[real]] = places[real]
        into.append(tokens.flatten())
        padding.append(places[~real])
        stop = place + tokens.numel()
        mask = seen_mask(real, window)
        blocks.append(Block(len(group), longest, slice(place, stop),
                            None if mask is None else on_device(mask, device)))
        place = stop
    none = torch.empty(0, dtype=torch.long)
    return Plan(tuple(blocks), on_device(torch.cat([none, *into]), device), on_device(back, device),
                on_device(torch.cat([none, *padding]), device))


def seen_mask(real: Tensor, window: int | None) -> Tensor | None:
    """Return 0 where a query sees a key and else -inf, from which places (n, L) are tokens."""
    length = real.shape[1]
    seen = real[:, None, None]                                              # (n, 1, 1, L)
    if window is not None and length > window + 1:
        at = torch.arange(length)
        near = (at[:, None] - at).abs() <= window
        # A place of padding sees all tokens: a row of -inf would be NaN, and spread.
        seen = seen & (near | ~real[:, None, :, None])
    elif bool(real.all()):
        return None
    return torch.zeros(seen.shape).masked_fill_(~seen, -math.inf)


def groups_of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Split sequences, longest first, where padding would cost more than another block."""
    groups: list[list[int]] = []
    for s in sorted(range(len(lengths)), key=lambda s: -lengths[s]):
        if groups and lengths[s] >= 0.75 * lengths[groups[-1][0]] - 2:
            groups[-1].append(s)
        elif lengths[s]:
            groups.append([s])
    return groups
