"""A task: a name, its data, pairing, pooling, head, loss and metrics.

`Task` is what the user writes, and its `problems` are what cannot work; `tasks/resolved_task.py` completes
it with what the data say (`Labels`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from polytask.core.errors import PolytaskError
from polytask.core.settings import problem, settings
from polytask.data.file_format import FileFormat
from polytask.data.label_cells import label_columns
from polytask.data.labels import Kind, Labels
from polytask.data.python_records import file_or_rows
from polytask.data.row_filter import RowFilter, filter_problems
from polytask.losses.binary_cross_entropy import BinaryCrossEntropy
from polytask.losses.contract import Loss, LossContext, loss
from polytask.losses.cross_entropy import CrossEntropy
from polytask.losses.mean_squared_error import MeanSquaredError
from polytask.metrics import DEFAULT_METRICS, metric, metrics_problem
from polytask.model.heads.contract import Head, head
from polytask.model.heads.linear import Linear
from polytask.model.multitask import pair_problem
from polytask.model.pairings.contract import Pairing, pairing
from polytask.model.pairings.cross_encoder import CrossEncoder
from polytask.model.pairings.single import Single
from polytask.model.poolings.contract import Pooling, pooling


def several(value: Any) -> Any:
    """Let one name or table stand for a list of one."""
    return (value,) if isinstance(value, str | Mapping) or not isinstance(value, Sequence) else value


def _one_or_several(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Let a list of one column stand for the column."""
    if isinstance(value, str):
        return value
    if len(set(value)) != len(value) or not value:
        raise problem(f"found {list(value)}, expected a column, or a list of different columns")
    return value if len(value) > 1 else value[0]


def metric_name(value: Any) -> str:
    """Return what a config calls a metric; a user's own is imported from its place."""
    try:
        return metric.read(value)
    except PolytaskError as error:
        raise problem(str(error)) from None


# Named here, because inside a settings class a field hides the family that it is named after.
OnePairing = Annotated[Pairing, pairing]
OnePooling = Annotated[Pooling, pooling]
OneHead = Annotated[Head, head]
OneLoss = Annotated[Loss, loss]
OneMetric = Annotated[str, BeforeValidator(metric_name)]
Texts = Annotated[tuple[str, ...], Field(min_length=1, max_length=2), BeforeValidator(several)]
LabelNames = Annotated[str | tuple[str, ...], AfterValidator(_one_or_several)]
Losses = Annotated[tuple[OneLoss, ...], Field(min_length=1), BeforeValidator(several)]
RowCount = Annotated[int, Field(gt=0, le=2**62)]


@settings
class Task:
    """One task as the config says it. Its name is its key in `[tasks]`."""

    train: Annotated[str, BeforeValidator(file_or_rows)]
    """File of the training rows (CSV, TSV, JSONL, Parquet), or a hub data set `hf://name:split`. In Python
    also the rows: a list of dicts, a dict of columns, a data frame, a `datasets.Dataset`."""
    dev: Annotated[str | float | None, BeforeValidator(file_or_rows)] = None
    """File of the dev rows, or the fraction of the training rows to carve; absent: 0.1."""
    test: Annotated[str | None, BeforeValidator(file_or_rows)] = None
    """File of the test rows; they may lack labels."""
    split: str | None = None
    """A column of the `train` file that says which rows are training, dev and test rows."""
    text: Texts
    """The column of the sentence, or the two columns of a pair."""
    label: LabelNames
    """The column of the label; rows where it is empty are skipped for this task and counted (with
    several labels a row, `[]` is none of them). A list of columns of 0 and 1 is one multi-label task,
    whose classes are the columns."""
    header: bool = True
    """Whether the first line of delimited files names their columns."""
    columns: tuple[str, ...] | None = None
    """The names of the columns of files without a header, from left to right; "" for those not used."""
    delimiter: str | None = None
    """The character between fields; absent: recognized from the header line."""
    quoting: Literal["minimal", "none"] | None = None
    """minimal: fields may stand in double quotes; none: quotes are characters. Absent: minimal, except in
    tab-separated files whose quotes clearly quote nothing."""
    encoding: str = "utf-8"
    """The character encoding of text files."""
    where: dict[str, Any] | None = None
    """The rows to use: column = value, column = [values] or column = { not = [values] }."""
    id: str | None = None
    """A column copied into the predictions; absent: the one called "id", or the line number in the file."""
    kind: Kind | None = None
    """classes, binary, ordinal, regression or multi-label; absent: inferred from the labels."""
    classes: tuple[str, ...] | None = None
    """The ordered classes; absent: those of the training and dev rows."""
    positive: str | None = None
    """Of two classes, the one that F1, scores and false positives refer to; absent: 1, yes, true, positive,
    "x" beside "not x", else the last in the alphabet."""
    separator: str | None = None
    """The separator between the labels of a row that has several; absent: "|", or lists in brackets."""
    range: tuple[float, float] | None = None
    """The lowest and highest label of a regression; absent: those of the training and dev rows."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["tuned", "accuracy"] | None = None
    """The probability from which the positive class, or each of several labels, is predicted.
    "tuned": the one with the best F1 on the dev rows, class by class; "accuracy": the one with the best
    accuracy there; absent: 0.5."""
    label_scale: Literal["unit", "raw"] = "unit"
    """Whether a regression loss sees labels mapped to [0, 1] or as given."""
    limit: RowCount | None = None
    """Training rows used, drawn with the seed; absent: all."""
    dev_limit: RowCount | None = None
    """Dev rows used, drawn with `data.dev_seed`; absent: all."""
    pairing: OnePairing | None = None
    """How the sentences meet the encoder; absent: `single`, or `cross_encoder` for a pair."""
    pooling: OnePooling | None = None
    """Overrides the encoder's pooling for this task."""
    head: OneHead = Linear()
    """What turns the vector of a row into its logits or score."""
    loss: Losses | None = None
    """The loss, or a list whose weighted sum is the loss; absent: as the kind requires."""
    metrics: tuple[OneMetric, ...] | None = None
    """The metrics reported; the first is the task's score. Absent: as the kind requires. A custom one
    is named by its place, `my_parts:f`."""

    def problems(self, labels: Labels | None = None) -> Iterator[str]:
        """Yield a sentence, with its key, for all that cannot work; with the labels once they are known."""
        yield from self._data_problems()
        pairing_, head_ = self.chosen_pairing, self.head
        if len(self.text) != pairing_.texts:
            yield (f'pairing: "{pairing_.name}" takes {pairing_.texts} text column'
                   f"{'s' * (pairing_.texts > 1)}, but text names {len(self.text)}; "
                   + ("leave the pairing out" if len(self.text) == 1
                      else 'use "cross_encoder" or "bi_encoder"'))
        head_problems = [mistake for mistake in (pair_problem(head_, pairing_),
                                                 labels and head_.problem(labels)) if mistake]
        yield from (f"head: {mistake}" for mistake in head_problems)
        loss_problems = list(self._loss_problems(labels))
        yield from loss_problems
        if not head_problems and not loss_problems:
            yield from self._fit_problems(labels)
        if labels and self.threshold is not None and labels.kind not in ("binary", "multi-label"):
            yield f'threshold: labels of kind "{labels.kind}" have none; leave it out'
        if labels is not None and (mistake := metrics_problem(self.metrics or (), labels)):
            yield f"metrics: {mistake}"

    def _data_problems(self) -> Iterator[str]:
        if isinstance(self.dev, float | int) and not 0 < self.dev < 1:
            yield f"dev: found {self.dev}, expected a file or a fraction between 0 and 1"
        if self.split is not None and (isinstance(self.dev, str) or self.test is not None):
            yield (f'split: column "{self.split}" says which rows are dev and test; '
                   "leave out dev and test")
        if len({*self.text}) < len(self.text):
            yield f'text: found column "{self.text[0]}" twice, expected two different columns'
        if both := [name for name in label_columns(self.label) if name in self.text]:
            yield f'label: column "{both[0]}" is a text as well, which would tell the label'
        if not isinstance(self.label, str) and (self.kind not in (None, "multi-label") or self.classes):
            yield ("label: several columns are one multi-label task whose classes are the columns; "
                   "leave out kind and classes")
        if self.range is not None and not self.range[0] < self.range[1]:
            yield f"range: found {list(self.range)}, expected [lowest, highest]"
        yield from self.file_format.problems()
        yield from filter_problems(self.where)

    def _loss_problems(self, labels: Labels | None) -> Iterator[str]:
        """Yield what each loss finds wrong with the pairing and the labels."""
        pairing_ = self.chosen_pairing
        for loss_ in self.loss or ():
            if loss_.compares_texts and pairing_.texts == 1 and pairing_.sequences == 2:
                yield (f'loss: loss "{loss_.name}" compares two texts but pairing '
                       f'"{pairing_.name}" has one; use loss "sim_cse"')
            elif labels and (mistake := loss_.paired(pairing_).problem(
                    LossContext(self.head.target_labels(labels)))):
                yield f"loss: {mistake}"

    def _fit_problems(self, labels: Labels | None) -> Iterator[str]:
        """Yield losses that ask for what pairing and head do not give, and heads that nothing trains."""
        losses = self.loss or ((default_loss(labels.kind),) if labels else ())
        fields = {self.head.output_field(labels.kind)} if labels else {"logits", "score"}
        of_pairs = {"v", "pair"} if self.chosen_pairing.two_vectors else set()
        available = {"vector", "u", *fields} | of_pairs
        lacking = [mistake for loss_ in losses if (mistake := self._lacking(loss_, available))]
        yield from (f"loss: {mistake}" for mistake in lacking)
        if lacking or not losses:
            return
        if self.head.input_field == "vector" and not fields & {loss_.input_field for loss_ in losses}:
            remedy = f'add "{default_loss(labels.kind).name}"' if labels else "add one that trains it"
            yield (f'loss: {" and ".join(loss_.name for loss_ in losses)} would leave '
                   f'head "{self.head.name}" at its random initialisation; {remedy}'
                   + (', or set head = "cosine"' if self.chosen_pairing.only_two_vectors else ""))
        if labels and len(outputs := wanted_outputs(losses, labels)) > 1:
            yield f"loss: the list needs heads of {sorted(outputs)} outputs; use losses that agree"

    def _lacking(self, loss: Loss, available: set[str]) -> str | None:
        if loss.input_field in available:
            return None
        if loss.input_field in ("pair", "v"):
            return (f'"{loss.name}" needs two vectors per row, but pairing '
                    f'"{self.chosen_pairing.name}" gives one; set pairing = "bi_encoder"')
        gives = ", ".join(sorted(available & {"logits", "score"}))
        return (f'"{loss.name}" needs {loss.input_field}, but head "{self.head.name}" gives {gives} '
                'for these labels; use another loss, or head = "linear"')

    def metrics_with(self, labels: Labels | None) -> tuple[str, ...] | None:
        """Return the metrics reported, None where they hang on labels that are not known."""
        return self.metrics or (DEFAULT_METRICS[labels.kind] if labels else None)

    def ready_losses(self, labels: Labels, counts: Sequence[int] | None) -> tuple[Loss, ...]:
        """Return the losses with what pairing and training rows decide filled in.

        `counts` are the training rows of each class.
        """
        seen = self.head.target_labels(labels)
        return tuple(loss_.paired(self.chosen_pairing).prepared(seen, counts)
                     for loss_ in self.loss or (default_loss(labels.kind),))

    @property
    def file_format(self) -> FileFormat:
        """How the files are written."""
        return FileFormat(self.header, self.columns, self.encoding, self.quoting, self.delimiter)

    @property
    def row_filter(self) -> RowFilter:
        """Which rows of the files are taken."""
        return RowFilter.of(self.where)

    @property
    def chosen_pairing(self) -> Pairing:
        return self.pairing or (Single() if len(self.text) == 1 else CrossEncoder())


def default_loss(kind: str) -> Loss:
    """Return the loss of a kind of labels."""
    return {"regression": MeanSquaredError(), "binary": BinaryCrossEntropy(),
            "multi-label": BinaryCrossEntropy()}.get(kind, CrossEntropy())


def wanted_outputs(losses: Sequence[Loss], labels: Labels) -> set[int]:
    """Return the numbers of outputs that the losses ask of the head."""
    return {outputs for loss_ in losses if (outputs := loss_.outputs(labels)) is not None}
