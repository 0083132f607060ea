"""A task: a name, its data, pairing, pooling, head, loss and metrics.

`Task` is what the user says; `resolve` completes it with what the data say (`Labels`) and refuses
combinations that cannot work, each in one sentence with its dotted key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from polytask.core.errors import ConfigError, PolytaskError
from polytask.core.settings import problem, settings, to_table
from polytask.data.file_format import FileFormat
from polytask.data.labels import Kind, Labels
from polytask.data.row_filter import RowFilter, filter_problems
from polytask.losses.binary_cross_entropy import BinaryCrossEntropy
from polytask.losses.contract import Loss, loss
from polytask.losses.cross_entropy import CrossEntropy
from polytask.losses.mean_squared_error import MeanSquaredError
from polytask.metrics import DEFAULT_METRICS, metric, metrics_problem
from polytask.model.heads.contract import Head, head
from polytask.model.heads.linear import Linear
from polytask.model.pairings.contract import Pairing, pairing
from polytask.model.pairings.cross_encoder import CrossEncoder
from polytask.model.pairings.single import Single
from polytask.model.poolings.contract import Pooling, pooling


def _several(value: Any) -> Any:
    """Let one name or table stand for a list of one."""
    return (value,) if isinstance(value, str | Mapping) or not isinstance(value, Sequence) else value


USUAL_FILES = FileFormat()
def _one_or_several(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Let a list of one column stand for the column."""
    if isinstance(value, str):
        return value
    if len(set(value)) != len(value) or not value:
        raise problem(f"found {list(value)}, expected a column, or a list of different columns")
    return value if len(value) > 1 else value[0]



def _metric_name(value: Any) -> str:
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
OneMetric = Annotated[str, BeforeValidator(_metric_name)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1, max_length=2)]
LabelNames = Annotated[str | tuple[str, ...], AfterValidator(_one_or_several)]
Losses = Annotated[
    tuple[OneLoss, ...], BeforeValidator(_several), Field(min_length=1)
]


@settings
class Task:
    """One task as the config says it. Its name is its key in `[tasks]`."""

    train: str
    """File of the training rows (CSV, TSV, JSONL, Parquet), or a hub data set `hf://name:split`."""
    dev: str | float | None = None
    """File of the dev rows, or the fraction of the training rows to carve; absent: 0.1."""
    test: str | None = None
    """File of the test rows; they may lack labels."""
    split: str | None = None
    """A column of the `train` file that says which rows are for training, dev and test."""
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
    """The one character between fields; absent: told from the header line."""
    quoting: Literal["minimal", "none"] | None = None
    """minimal: fields may stand in double quotes; none: quotes are characters. Absent: minimal, except in
    tab-separated files whose quotes plainly quote nothing."""
    encoding: str = "utf-8"
    """The character encoding of text files."""
    where: dict[str, Any] | None = None
    """The rows that are taken: column = value, column = [values] or column = { not = [values] }."""
    id: str | None = None
    """A column copied into the predictions; absent: the one called "id", or the line in the file."""
    kind: Kind | None = None
    """classes, binary, ordinal, regression or multi-label; absent: told from the labels."""
    classes: tuple[str, ...] | None = None
    """The classes in their order; absent: those of the training and dev rows."""
    positive: str | None = None
    """Of two classes the one that F1, scores and false positives speak of; absent: 1, yes, true, positive,
    "x" beside "not x", else the last of the alphabet."""
    separator: str | None = None
    """What stands between the labels of a row that has several; absent: "|", or lists in brackets."""
    range: tuple[float, float] | None = None
    """The lowest and highest label of a regression; absent: those of the training and dev rows."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["tuned"] | None = None
    """From which probability on the positive class, or a label of several, is given. "tuned": the best F1
    on the dev rows, class by class; absent: 0.5."""
    label_scale: Literal["unit", "raw"] = "unit"
    """Whether a regression loss sees labels mapped to [0, 1] or as they stand."""
    limit: Annotated[int, Field(gt=0)] | None = None
    """Training rows used, drawn with the seed; absent: all."""
    dev_limit: Annotated[int, Field(gt=0)] | None = None
    """Dev rows used, drawn with `data.dev_seed`; absent: all."""
    pairing: OnePairing | None = None
    """How the sentences meet the encoder; absent: `single`, or `cross_encoder` for a pair."""
    pooling: OnePooling | None = None
    """Overrides the encoder's pooling for this task."""
    head: OneHead = Linear()
    """What turns the vector of a row into its logits or score."""
    loss: Losses | None = None
    """The loss, or a list whose weighted sum is the loss; absent: what the kind asks for."""
    metrics: tuple[OneMetric, ...] | None = None
    """The metrics reported; the first is the task's score. Absent: what the kind asks for. One of your own
    is named by its place, `my_parts:f`."""

    def __post_init__(self) -> None:
        if isinstance(self.dev, float | int) and not 0 < self.dev < 1:
            raise problem(f"dev: found {self.dev}, expected a file or a fraction between 0 and 1")
        if self.split is not None and (isinstance(self.dev, str) or self.test is not None):
            raise problem(f"split: column \"{self.split}\" says which rows are dev and test; "
                          "leave the files of dev and test out")
        if not isinstance(self.label, str) and (self.kind not in (None, "multi-label") or self.classes):
            raise problem("label: several columns are one multi-label task whose classes are the "
                          "columns; leave "
                          "kind and classes out")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise problem(f"range: found {list(self.range)}, expected [lowest, highest]")
        for said in (*self.file_format.problems(), *filter_problems(self.where)):
            raise problem(said)
        texts = self.chosen_pairing.texts
        if len(self.text) != texts:
            raise problem(
                f'pairing "{self.chosen_pairing.name}" takes {texts} text column'
                f"{'s' if texts > 1 else ''}, but text names {len(self.text)}; "
                + ("leave the pairing out" if len(self.text) == 1
                   else 'use "cross_encoder" or "bi_encoder"')
            )

    @property
    def file_format(self) -> FileFormat:
        """How the files are written."""
        return FileFormat(self.header, self.columns, self.encoding, self.quoting, self.delimiter)

    @property
    def row_filter(self) -> RowFilter:
        """Which rows of the files are taken."""
        return RowFilter.of(self.where)

    def conflicts(self, at: str) -> Iterator[str]:
        """Yield what cannot work whatever the labels are."""
        pairing_ = self.chosen_pairing
        if self.head.input_field == "pair" and pairing_.sequences == 1:
            remedy = 'set pairing = "bi_encoder"' if len(self.text) == 2 else 'use head = "linear"'
            yield (f'{at}.head: "{self.head.name}" compares two vectors, but pairing '
                   f'"{pairing_.name}" gives one; {remedy}')

    @property
    def chosen_pairing(self) -> Pairing:
        return self.pairing or (Single() if len(self.text) == 1 else CrossEncoder())


@dataclass(frozen=True)
class ResolvedTask:
    """A task with nothing left open: what a model and an evaluation are built from."""

    name: str
    text: tuple[str, ...]
    label: str | tuple[str, ...]
    labels: Labels
    pairing: Pairing
    pooling: Pooling | None
    head: Head
    losses: tuple[Loss, ...]
    outputs: int
    metrics: tuple[str, ...]
    max_length: int
    id: str | None = None
    file_format: FileFormat = USUAL_FILES
    where: dict[str, Any] | None = None
    threshold: float | Literal["tuned"] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `tasks.json` keeps of the task."""
        label = self.label if isinstance(self.label, str) else list(self.label)
        return {
            "text": list(self.text), "label": label, "labels": self.labels.to_json(),
            "pairing": to_table(self.pairing),
            "pooling": to_table(self.pooling) if self.pooling else None,
            "head": to_table(self.head), "loss": to_table(self.losses),
            "outputs": self.outputs, "metrics": list(self.metrics), "max_length": self.max_length,
            "id": self.id, "files": self.file_format.to_json(), "where": self.where,
            "threshold": self.threshold,
        }

    @classmethod
    def from_json(cls, name: str, table: Mapping[str, Any]) -> ResolvedTask:
        """Read a task back from `tasks.json`.

        A loss of the user's own that is not at hand is left out: nothing here asks for it.
        """
        losses = []
        for entry in table["loss"]:
            with suppress(PydanticCustomError):
                losses.append(loss.read(entry))
        return cls(
            name=name, text=tuple(table["text"]),
            label=table["label"] if isinstance(table["label"], str) else tuple(table["label"]),
            labels=Labels.from_json(table["labels"]), pairing=pairing.read(table["pairing"]),
            pooling=pooling.read(table["pooling"]) if table.get("pooling") else None,
            head=head.read(table["head"]),
            losses=tuple(losses),
            outputs=table["outputs"], metrics=tuple(table["metrics"]),
            max_length=table["max_length"], id=table.get("id"),
            file_format=FileFormat.from_json(table.get("files", {})), where=table.get("where"),
            threshold=table.get("threshold"),
        )


def default_loss(kind: str) -> Loss:
    """Return the loss of a kind of labels."""
    return {"regression": MeanSquaredError(), "binary": BinaryCrossEntropy(),
            "multi-label": BinaryCrossEntropy()}.get(kind, CrossEntropy())


def resolve(name: str, task: Task, labels: Labels, counts: Sequence[int] | None,
            max_length: int) -> ResolvedTask:
    """Complete a task with its labels; `counts` are the training rows of each class.

    Raises `ConfigError` for a loss, head and pairing that do not fit one another.
    """
    at = f"tasks.{name}"
    pairing_, head_ = task.chosen_pairing, task.head
    seen = head_.target_labels(labels)
    given_losses = task.loss or (default_loss(labels.kind),)
    with _telling(f"{at}.loss"):
        losses = tuple(each.paired(pairing_) for each in given_losses)
    problems = [f"{at}.loss: {said}" for each in losses if (said := each.problem(seen))]
    if said := head_.problem(labels):
        problems.append(f"{at}.head: {said}")
    if task.threshold is not None and labels.kind not in ("binary", "multi-label"):
        problems.append(f"{at}.threshold: labels of kind \"{labels.kind}\" have none; leave it out")
    if said := metrics_problem(task.metrics or (), labels):
        problems.append(f"{at}.metrics: {said}")
    problems += task.conflicts(at)
    given = {"vector", "u", head_.output_field(labels.kind)}
    given |= {"v", "pair"} if pairing_.sequences == 2 else set()
    problems += [said for each in losses if not problems
                 and (said := _lacking(at, each, given, pairing_, head_))]
    trained = {each.input_field for each in losses}
    if not problems and head_.input_field == "vector" and head_.output_field(labels.kind) not in trained:
        remedy = f'add "{default_loss(labels.kind).name}"'
        problems.append(f'{at}.loss: {" and ".join(each.name for each in losses)} would leave '
                        f'head "{head_.name}" as it was drawn at random; {remedy}'
                        + (', or set head = "cosine"' if pairing_.sequences == 2 else ""))
    if problems:
        raise ConfigError(problems)
    with _telling(f"{at}.loss"):
        ready = tuple(each.prepared(seen, counts) for each in losses)
    return ResolvedTask(
        name=name, text=task.text, label=task.label, labels=labels, pairing=pairing_,
        pooling=task.pooling, head=head_, losses=ready,
        outputs=_outputs(at, ready, labels), metrics=task.metrics or DEFAULT_METRICS[labels.kind],
        max_length=max_length, id=task.id, file_format=task.file_format, where=task.where,
        threshold=task.threshold,
    )


@contextmanager
def _telling(where: str) -> Iterator[None]:
    """Put the dotted key before what a component refuses."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {said}" for said in error.problems) from None
    except PydanticCustomError as error:
        raise ConfigError(f"{where}: {error.message()}") from None


def _lacking(at: str, each: Loss, given: set[str], pairing_: Pairing, head_: Head) -> str | None:
    if each.input_field in given:
        return None
    if each.input_field in ("pair", "v"):
        return (f'{at}.loss: "{each.name}" needs two vectors a row, but pairing '
                f'"{pairing_.name}" gives one; set pairing = "bi_encoder"')
    gives = ", ".join(sorted(given & {"logits", "score"}))
    return (f'{at}.loss: "{each.name}" needs {each.input_field}, but head '
            f'"{head_.name}" gives {gives} for these labels; use another loss, or head = "linear"')


def _outputs(at: str, losses: Sequence[Loss], labels: Labels) -> int:
    asked = {n for each in losses if (n := each.outputs(labels)) is not None}
    if len(asked) > 1:
        raise ConfigError(f"{at}.loss: the list asks for heads of {sorted(asked)} outputs; "
                          "use losses that agree")
    if asked:
        return asked.pop()
    return default_loss(labels.kind).outputs(labels) or 1
