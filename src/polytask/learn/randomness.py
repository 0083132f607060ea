"""The random numbers of a training: which are a process's own, and which are the same in all of them.

Dropout masks are each process's own, drawn from torch's generators, which start at seed + rank. Noise that
a penalty adds to its rows must not depend on which process computes them: it is drawn for the whole
microbatch from one stream that is the same everywhere, and each process takes its part. Alone, both
come from torch's generators. What a weighting draws depends on the seed and the number of updates before
it, in all phases, alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

from polytask.core.processes import Processes
from polytask.learn.checkpoint import random_state, set_random_state


class Randomness:
    """What a training draws beside its plan. The common stream begins where torch's generator stands.

    So without dropout any number of processes draws what one does.
    """

    def __init__(self, processes: Processes, seed: int, device: torch.device) -> None:
        self.processes, self.seed = processes, seed
        self._common: Generator | None = None
        if processes.world > 1:
            self._common = Generator(device)
            self._follow(random_state())
            torch.manual_seed(seed + processes.rank)

    def normal(self, like: Tensor, tokens: int, mine: Tensor | None) -> Tensor:
        """Return standard normal noise of the shape of `like`: (tokens of this process, width).

        tokens: of the whole microbatch. mine: this process's tokens among them; None: all.
        """
        if self._common is None:
            return torch.randn_like(like)
        drawn = torch.randn(tokens, *like.shape[1:], generator=self._common, dtype=like.dtype,
                            device=like.device)
        return drawn if mine is None else drawn[mine.to(like.device)]

    @contextmanager
    def alike(self, update: int) -> Iterator[None]:
        """Let torch's generator of the CPU draw what the seed and `update` say, in every process.

        update: the updates done before, in all phases.
        """
        own = torch.get_rng_state()
        torch.set_rng_state(Generator().manual_seed(self.seed + 1_000_003 * (update + 1)).get_state())
        try:
            yield
        finally:
            torch.set_rng_state(own)

    def state(self) -> dict[str, Any]:
        """Return the states of the common stream and of every process's masks, in the order of ranks."""
        own = random_state()
        if self._common is None:
            return {"random": own, "masks": []}
        parts = {key: self.processes.gather(value) for key, value in own.items()}
        masks = [dict(zip(parts, each, strict=True)) for each in zip(*parts.values(), strict=True)]
        key = "cpu" if self._common.device.type == "cpu" else "cuda"
        return {"random": own | {key: self._common.get_state()}, "masks": masks}

    def restore(self, state: Mapping[str, Any], updates: int) -> None:
        """Go back to where `state` was taken, after `updates` updates.

        With another number of processes the masks are new ones, which depend on seed, rank and `updates`.
        """
        masks = state.get("masks", [])
        if self._common is None:
            set_random_state(state["random"])
            return
        self._follow(state["random"])
        if len(masks) == self.processes.world:
            set_random_state(masks[self.processes.rank])
        else:
            torch.manual_seed(self.seed + self.processes.rank + 1_000_003 * updates)

    def _follow(self, state: Mapping[str, Any]) -> None:
        assert self._common is not None
        kind = self._common.device.type
        if kind in state:
            self._common.set_state(state[kind])
