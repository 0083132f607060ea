"""The contract of adapters and their family."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from polytask.core.errors import ConfigError
from polytask.core.registry import Family


class Adapter:
    """The interface of an adapter."""

    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]

        def attach(self, model: Any, tasks: Iterable[str]) -> None:
            """Put the adapter into `model.encoder`, for these tasks; outputs stay as they were.

            Raises `ConfigError` for an encoder that cannot carry it.
            """

        def num_parameters(self, encoder: Any) -> int:
            """Return how many parameters it adds to an encoder: for one task, if tasks differ."""

        def about(self) -> str:
            """Return the sentence that the model card has about it."""

    def problem(self, encoder: Any) -> str | None:
        """Say why this encoder cannot carry it, with the remedy, or None."""
        return None

    def describe(self, encoder: Any, tasks: Iterable[str]) -> str:
        """Return a sentence with what it adds to the encoder, for these tasks."""
        own = sum(p.numel() for name, p in encoder.named_parameters() if not _added(name))
        count = self.num_parameters(encoder)
        return f"{self.name}: {count:,} parameters, {count / own:.2%} of the encoder's {own:,}"

    def refuse(self, encoder: Any) -> None:
        """Raise what `problem` says."""
        if mistake := self.problem(encoder):
            raise ConfigError(f"encoder.adapter: {mistake}")


def _added(name: str) -> bool:
    return name.startswith("adapter.") or ".lora_" in name


adapter = Family("adapter", "adapters", methods=("attach", "num_parameters", "about"), base=Adapter)
