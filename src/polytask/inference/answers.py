"""A task's answers in Python: a list of predictions that also reads as records, a data frame or a table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from polytask.core.frames import data_frame
from polytask.data.prediction_columns import PredictionColumns

_SHOWN = 20


@dataclass(frozen=True)
class Prediction:
    """What a task says of a row: a class's name or a number, and the score behind it."""

    label: Any
    score: Any
    probabilities: dict[str, float] | None = None
    """Of each class, in their order; None for numbers."""


class Answers(list[Prediction]):
    """The predictions of one task, in the order of the texts."""

    def __init__(self, predictions: Iterable[Prediction], task: str, columns: Sequence[str],
                 texts: Sequence[tuple[str, ...]]) -> None:
        """columns: the names of the text columns. texts: what was answered, a tuple per prediction."""
        super().__init__(predictions)
        self.task, self.columns, self.texts = task, tuple(columns), list(texts)

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dictionary per row: texts, prediction, score, "probabilities.<class>" of each class.

        A multi-label row has no score: it would be the probabilities again.
        """
        own = PredictionColumns.beside(self.columns)
        records = []
        for text, each in zip(self.texts, self, strict=True):
            record = {**dict(zip(self.columns, text, strict=True)), own.prediction: each.label}
            if not isinstance(each.score, list):
                record[own.score] = each.score
            for name, value in (each.probabilities or {}).items():
                record[f"{own.probabilities}.{name}"] = value
            records.append(record)
        return records

    def to_pandas(self) -> Any:
        """Return the records as a `pandas.DataFrame`; raise `MissingExtra` without pandas."""
        return data_frame(self.to_records())

    def _repr_html_(self) -> str:
        """Return a table for notebooks: the first rows, with a bar per probability."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in (*self.columns, self.task, "score"))
        shown = zip(self.texts[:_SHOWN], self, strict=False)
        rows = "".join(f"<tr>{_cells(text, each)}</tr>" for text, each in shown)
        more = f"<p>… and {len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _cells(texts: tuple[str, ...], prediction: Prediction) -> str:
    """Return a row's cells, everything from the texts and the labels escaped."""
    cells = [html.escape(text) for text in texts]
    cells.append(f"<b>{html.escape(str(prediction.label))}</b>")
    if prediction.probabilities is None:
        cells.append(f"{prediction.score:.4g}")
    else:
        cells.append("".join(_bar(name, value) for name, value in prediction.probabilities.items()))
    return "".join(f'<td style="text-align:left;vertical-align:top">{cell}</td>' for cell in cells)


def _bar(name: str, value: float) -> str:
    width = 6 * max(0.0, min(1.0, value))
    return ('<div style="white-space:nowrap"><span style="display:inline-block;height:.7em;'
            f'width:{width:.2f}em;background:#4477aa"></span> {value:.3f} {html.escape(name)}</div>')
