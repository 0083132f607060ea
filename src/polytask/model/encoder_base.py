"""The base of all encoders: facts from a checkpoint's config, however the encoder runs."""

from __future__ import annotations

from typing import Any

from torch import nn

from polytask.core.errors import ConfigError
from polytask.data.batch import TokenBatch


class EncoderBase(nn.Module):
    """The sizes of an encoder, and the check that a batch fits them."""

    config: Any

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)

    @property
    def num_layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def vocab_size(self) -> int:
        return int(self.config.vocab_size)

    @property
    def max_length(self) -> int:
        """The longest sequence that the position table can tell apart."""
        raise NotImplementedError

    def check_length(self, batch: TokenBatch) -> int:
        """Return a batch's longest sequence; raise `ConfigError` if it exceeds `max_length`."""
        longest = max(batch.lengths, default=0)
        if longest > self.max_length:
            raise ConfigError(f"data.max_length: found a sequence of {longest} tokens, expected at "
                              f"most {self.max_length}, the encoder's number of positions")
        return longest
