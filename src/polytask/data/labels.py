"""What a task's labels are: their kind, their classes or range, and how a loss sees them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Kind = Literal["classes", "binary", "ordinal", "regression", "multi-label"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Labels:
    """The labels of one task, known before its model is built.

    As numbers they are: an index into `classes` (classes, binary, ordinal), a float (regression:
    `unit` maps [low, high] to [0, 1], DESIGN "label_scale"), or a 0/1 row (multi-label).
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    unit: bool = True

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def is_regression(self) -> bool:
        return self.kind == "regression"

    def scaled(self, value: Any) -> Any:
        """Map a regression label to what the loss sees."""
        return (value - self.low) / (self.high - self.low) if self.unit else value

    def unscaled(self, value: Any) -> Any:
        """Map what a regression head gave back to the labels' own range (not clipped)."""
        return self.low + value * (self.high - self.low) if self.unit else value

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"classes": list(self.classes)}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Labels:
        return cls(**{**table, "classes": tuple(table["classes"])})
