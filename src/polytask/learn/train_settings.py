"""`[train]`: all settings of training, and its phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from polytask.core.errors import ConfigError
from polytask.core.settings import from_table, settings, to_table
from polytask.learn.optimizers import Optimizer
from polytask.learn.regularizers.contract import Regularizer, regularizer
from polytask.learn.schedules.batch_round_robin import BatchRoundRobin
from polytask.learn.schedules.contract import Schedule, schedule
from polytask.learn.surgery.contract import Surgery, surgery
from polytask.learn.weightings.contract import Weighting, weighting
from polytask.learn.weightings.sum import Sum

# Named here, because inside a settings class a field hides the family that it is named after.
OneSchedule = Annotated[Schedule, schedule]
OneWeighting = Annotated[Weighting, weighting]
OneSurgery = Annotated[Surgery, surgery]
OneRegularizer = Annotated[Regularizer, regularizer]
Count = Annotated[int, Field(gt=0, le=10**9)]


@settings
class Train:
    """How the tasks are trained together."""

    epochs: Annotated[int, Field(gt=0, le=10_000)] = 3
    """Epochs, as the schedule defines them."""
    max_steps: Count | None = None
    """Stop after this many updates, even within an epoch."""
    score: str = "default"
    """The score that picks the best model: "default", "cs224n", "mean", or a formula over task.metric."""
    batch_size: Count | dict[str, Count] = 16
    """Rows of a task in one draw; a table sets it per task. A set with fewer rows is drawn whole."""
    schedule: OneSchedule = BatchRoundRobin()
    """Which task when."""
    weighting: OneWeighting = Sum()
    """How the losses of the tasks are weighted."""
    surgery: OneSurgery | None = None
    """What to do when the tasks' gradients disagree."""
    regularizers: tuple[OneRegularizer, ...] = ()
    """Penalties added to the loss of a task or of the step."""
    optimizer: Optimizer = Optimizer()
    """The optimizer, its learning rates and their schedule."""
    accumulate: Count = 1
    """Number of parts into which the rows of an update are divided, computed one after the other to save
    memory; in-batch negatives are those of a part. An update still has `batch_size` rows of a task, where
    Hugging Face's `gradient_accumulation_steps` multiplies them."""
    evaluate_every: Count | None = None
    """Steps between evaluations; absent: after each epoch."""
    train_metrics: bool = False
    """Evaluate on (at most 2,000 of) the training rows too."""
    early_stopping: Count | None = None
    """Stop after this many evaluations without a better score."""
    best_per_task: bool = False
    """Also keep the best model of each task, under best/<task>/."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which is then evaluated and kept."""
    gradient_cosines: Count | None = None
    """Steps between records of the cosines between the tasks' gradients (surgery records them too)."""
    save_every: Count | None = None
    """Steps between checkpoints, besides the one after each epoch; absent: every five minutes."""
    keep_optimizer: bool = False
    """Whether a phase continues with the optimizer state of the phase before (its moments), and
    with its weighting if that and its tasks are the same. Rates and decay are the phase's own."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """bf16: passes compute under autocast, which auto chooses on a GPU that supports it. A CPU does it on
    request if it has AMX or AVX-512 BF16, any other stays with fp32.
    tf32 is fp32 whose matrix products a GPU rounds to 10 bits of mantissa; elsewhere it is fp32."""
    compile: bool = False
    """Whether torch.compile fuses what lies between the attentions of two layers; layers with a task
    adapter stay as they are. The first updates take a minute longer; torch needs a C++ compiler."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """What each of several processes (torchrun) holds: the whole model, or a part of every layer, for
    encoders too large for one process. With one process it makes no difference."""
    tasks: tuple[str, ...] | None = None
    """The tasks trained; absent: all."""
    phases: tuple[dict[str, Any], ...] = ()
    """Several trainings one after the other, each overriding the keys above."""

    def resolved(self) -> tuple[Train, ...]:
        """Return the phases, each a complete `Train` without phases; one if none are listed.

        Raises `ConfigError` with all mistakes of all phases.
        """
        own = {key: value for key, value in to_table(self).items() if key != "phases"}
        phases, problems = [], []
        for number, phase in enumerate(self.phases):
            at = f"train.phases.{number}"
            if "phases" in phase:
                problems.append(f"{at}.phases: a phase has no phases of its own")
            if "score" in phase:
                problems.append(f"{at}.score: one score picks the best model of all phases; "
                                "set train.score")
            if "parallel" in phase:
                problems.append(f"{at}.parallel: the phases train one model; set train.parallel")
            try:
                phases.append(from_table(Train, _over(own, phase), "", at))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return tuple(phases) or (self,)

    def placed(self) -> tuple[tuple[str, Train], ...]:
        """Return the phases of `resolved`, each with its dotted key."""
        return tuple((f"train.phases.{number}" if self.phases else "train", phase)
                     for number, phase in enumerate(self.resolved()))

    def batch_sizes(self, tasks: Iterable[str]) -> dict[str, int]:
        """Return the batch size of each task; one that the table does not name has 16."""
        if isinstance(self.batch_size, int):
            return dict.fromkeys(tasks, self.batch_size)
        return {name: self.batch_size.get(name, 16) for name in tasks}


def _over(table: Mapping[str, Any], phase: Mapping[str, Any]) -> dict[str, Any]:
    """Return `table` with a phase's keys over it; the optimizer's keys one by one."""
    merged = {**table, **phase}
    if isinstance(phase.get("optimizer"), Mapping):
        merged["optimizer"] = {**table["optimizer"], **phase["optimizer"]}
    return merged
