"""The outputs for a task's rows: heads fill the record, losses read it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from torch import Tensor


@dataclass(frozen=True)
class Output:
    """The vectors and values of the rows of one microbatch; what is absent is None.

    u, v     (rows, width)           pooled vectors of the two sequences of a row (v: two-sequence pairings)
    vector   (rows, pairing width)   what the head sees
    logits   (rows, outputs), or (rows,) where there is one output (binary)
    score    (rows,)                 a regression value, or a cosine in [-1, 1]
    """

    u: Tensor | None = None
    v: Tensor | None = None
    vector: Tensor | None = None
    logits: Tensor | None = None
    score: Tensor | None = None

    def field(self, name: str) -> Tensor:
        """Return a field that must be there."""
        value: Tensor | None = getattr(self, name)
        assert value is not None, f"the output has no {name}"
        return value

    def with_values(self, name: str, value: Tensor) -> Output:
        """Return a copy with one field filled."""
        return replace(self, **{name: value})

    def filled(self) -> dict[str, Tensor]:
        """Return the fields that are there."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def __getitem__(self, rows: slice | Tensor) -> Output:
        """Return the output of some rows."""
        return Output(**{name: value[rows] for name, value in self.filled().items()})
