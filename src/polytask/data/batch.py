"""The flat batch: sequences one after the other, no padding, all microbatches of a step together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, without waiting for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True)
class Span:
    """Where one microbatch of a task lies in a batch: its sequences, its tokens and its rows.

    A row of a pairing with several sequences has them next to each other (u, v, u, v, …).
    """

    task: str
    rows: int
    sequences: slice
    tokens: slice


@dataclass(frozen=True)
class LowerStates:
    """What the first `depth` layers made of a batch's tokens: (tokens, width) float32."""

    depth: int
    states: Tensor


@dataclass(frozen=True)
class TokenBatch:
    """`ids` and `segments` (tokens,) int64, and `lengths` (sequences), a tuple of Python integers.

    Lengths stay on the host: attention groups sequences by them without asking the device. Where `lower`
    is given, the encoder continues from these states.
    """

    ids: Tensor
    segments: Tensor
    lengths: tuple[int, ...]
    spans: tuple[Span, ...] = ()
    lower: LowerStates | None = None

    @property
    def num_tokens(self) -> int:
        return int(self.ids.shape[0])

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The token at which each sequence begins, and the number of tokens at the end."""
        starts = [0]
        for length in self.lengths:
            starts.append(starts[-1] + length)
        return tuple(starts)

    @cached_property
    def first(self) -> Tensor:
        """The token index of each sequence's [CLS]: (sequences,)."""
        return on_device(torch.tensor(self.starts[:-1], dtype=torch.long), self.ids.device)

    @cached_property
    def positions(self) -> Tensor:
        """The position of each token in its sequence: (tokens,)."""
        none = torch.empty(0, dtype=torch.long)
        return on_device(torch.cat([none, *(torch.arange(n) for n in self.lengths)]), self.ids.device)

    @cached_property
    def owner(self) -> Tensor:
        """The sequence that each token belongs to: (tokens,)."""
        return on_device(torch.repeat_interleave(
            torch.arange(len(self.lengths)), torch.tensor(self.lengths, dtype=torch.long)), self.ids.device)

    def narrow(self, span: Span) -> TokenBatch:
        """Return the part of one span as a batch of its own."""
        moved = Span(span.task, span.rows, slice(0, span.sequences.stop - span.sequences.start),
                     slice(0, span.tokens.stop - span.tokens.start))
        lower = self.lower and LowerStates(self.lower.depth, self.lower.states[span.tokens])
        return TokenBatch(self.ids[span.tokens], self.segments[span.tokens],
                          self.lengths[span.sequences], (moved,), lower)

    def part(self, rows: Sequence[Sequence[int]]) -> tuple[TokenBatch, Tensor]:
        """Return a batch of some rows of each span, and the places of its tokens in this one: (tokens,)."""
        spans: list[Span] = []
        sequences: list[int] = []
        token = 0
        for span, chosen in zip(self.spans, rows, strict=True):
            per_row = (span.sequences.stop - span.sequences.start) // max(span.rows, 1)
            first = span.sequences.start
            own = [first + row * per_row + k for row in chosen for k in range(per_row)]
            size = sum(self.lengths[place] for place in own)
            spans.append(Span(span.task, len(chosen), slice(len(sequences), len(sequences) + len(own)),
                              slice(token, token + size)))
            sequences, token = [*sequences, *own], token + size
        places = torch.cat([torch.arange(self.starts[k], self.starts[k + 1]) for k in sequences])
        lower = self.lower and LowerStates(self.lower.depth, self.lower.states[places])
        return (TokenBatch(self.ids[places], self.segments[places],
                           tuple(self.lengths[k] for k in sequences), tuple(spans), lower), places)

    def filled(self, multiple: int) -> TokenBatch:
        """Return the batch with zeros behind it up to a multiple of tokens, without its lower states.

        The zeros are sequences no longer than the batch's own; no span covers them.
        """
        lacking, longest = -self.num_tokens % multiple, max(self.lengths, default=0)
        if not lacking or not longest:
            return self
        more = (longest,) * (lacking // longest) + ((lacking % longest,) if lacking % longest else ())
        return TokenBatch(pad(self.ids, (0, lacking)), pad(self.segments, (0, lacking)),
                          (*self.lengths, *more), self.spans)

    def to(self, device: torch.device | str) -> TokenBatch:
        """Return the batch on a device."""
        device = torch.device(device)
        lower = self.lower and LowerStates(self.lower.depth, on_device(self.lower.states, device))
        return TokenBatch(on_device(self.ids, device), on_device(self.segments, device), self.lengths,
                          self.spans, lower)
