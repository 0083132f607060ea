"""`polytask check`: the data, whether it fits the settings, and the plan of the first epoch.

Also checks many runs against their data and encoders before the first one starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from polytask.config import Run
from polytask.core.counting import counted
from polytask.core.errors import PolytaskError
from polytask.core.progress import duration, progress
from polytask.data.dataset import DatasetStore
from polytask.data.validation import inspect
from polytask.evaluation.baseline import baseline
from polytask.evaluation.linear_baseline import baselines
from polytask.learn.phase_plan import PhasePlan
from polytask.learn.trainer import Score, Trainer
from polytask.model.precision import multiplies_bf16
from polytask.training.build import Built, Start, build, dataset_store, read_data, run_cache, starting_point
from polytask.validate import Known, validate


def check_run(run: Run, time_steps: int = 5, quiet: bool = False, linear: bool = False) -> Iterator[str]:
    """Yield the lines of the report on a run's data and plan.

    linear: also the score of TF-IDF with a linear model on the same rows, which takes a few seconds.
    """
    built = build(run, quiet=quiet)
    report = inspect(built.data, built.layouts())
    yield from report.lines()
    yield ""
    yield from _baselines(built, linear, quiet)
    trainer = Trainer(built.model, built.training_set, run.train, run.seed,
                      evaluate=lambda: Score(0.0, {}), keep=lambda where: None)
    several = len(trainer.phases) > 1
    for number, phase in enumerate(trainer.phases, 1):
        yield from _plan(phase, f"phase {number} of {len(trainer.phases)}, " if several else "")
    for note in built.notes:
        yield f"note: {note}"
    if time_steps:
        yield from _estimate(built, trainer, time_steps)


def _baselines(built: Built, linear: bool, quiet: bool) -> Iterator[str]:
    """Yield the score of one answer for every dev row and, if asked, of a linear model."""
    if linear:
        with progress("TF-IDF with a linear model", len(built.tasks), quiet) as bar:
            baselines_by_task = baselines(built.tasks, built.data, run_cache(built.run), bar)
    else:
        baselines_by_task = {name: [result] for name, task in built.tasks.items()
                             if (result := baseline(task, built.data[name]))}
    for name, several in baselines_by_task.items():
        yield from (f"{name}: the score to beat on dev is {result.line()}" for result in several)
    if baselines_by_task and not linear:
        yield "add --baseline for the score of TF-IDF with a linear model"


def _plan(phase: PhasePlan, which: str) -> Iterator[str]:
    plan = phase.preview()
    limit = f" of at most {phase.train.max_steps:,} (max_steps)" if phase.train.max_steps else ""
    yield (f"{which}plan of "
           f"{'the only epoch' if phase.epochs == 1 else f'the first of {phase.epochs} epochs'}: "
           f"{counted(plan.steps, 'step')}{limit}, "
           f"schedule {phase.train.schedule.name}")
    if phase.train.max_steps is not None:
        updates = ", ".join(f"{task} {count:,}" for task, count in phase.counts.updates.items())
        yield (f"  {counted(phase.num_steps, 'step')} with train.max_steps = {phase.train.max_steps} "
               f"({updates})")
    for task, batches in plan.batches.items():
        yield (f"  {task}: {batches:,} batches of {plan.batch_sizes[task]}, {plan.rows[task]:,} rows "
               f"drawn ({plan.unseen[task]:,} never drawn, {plan.repeated[task]:,} more than once)")
    yield "the first steps, one per column:"
    yield from (f"  {line}" for line in plan.strip.splitlines())


def _estimate(built: Built, trainer: Trainer, time_steps: int) -> Iterator[str]:
    """Time a few real steps; the first, which warms up caches, does not count."""
    began, steps, tokens = 0.0, 0, 0
    for event in trainer.run():
        if event["event"] != "step":
            continue
        if steps == 0:
            began = time.perf_counter()
        else:
            tokens += event["tokens"]
        steps += 1
        if steps > time_steps:
            break
    if steps < 2:
        return
    each = (time.perf_counter() - began) / (steps - 1)
    total = each * trainer.num_steps
    yield (f"time: {each:.2f} s per step, {tokens / each / (steps - 1):,.0f} tokens/s; about "
           f"{duration(total)} for {trainer.num_steps:,} steps"
           f"{' of all phases, at the speed of the first' if len(trainer.phases) > 1 else ''}, "
           "without evaluations")
    if trainer.compute.device.type == "cpu" and trainer.settings.precision == "auto" and multiplies_bf16():
        yield ('note: this processor multiplies bf16 matrices; train.precision = "bf16" trains faster, '
               "the more the larger the encoder (docs/performance.md)")


def refusals(runs: Mapping[str, Run], quiet: bool = False) -> dict[str, list[str]]:
    """Return the mistakes that the runs' data and encoders reveal: sentence → names of its runs.

    Each file and encoder is read once, however many runs name it.
    """
    starts: dict[Any, Start] = {}
    stores: dict[Any, DatasetStore] = {}
    runs_by_mistake: dict[str, list[str]] = {}
    for name, run in runs.items():
        try:
            key = (run.encoder.checkpoint, run.encoder.revision)
            start = starts[key] = starts.get(key) or starting_point(run)
            source = (str(start.tokenizer), run.data.root, run.data.cache)
            if source not in stores:
                stores[source] = dataset_store(run, start.tokenizer)
            data = read_data(run, start.tokenizer, quiet, store=stores[source])
            validate(run, Known(data, start.encoder))
        except PolytaskError as error:
            for mistake in str(error).splitlines():
                runs_by_mistake.setdefault(mistake, []).append(name)
    return runs_by_mistake
