"""Optuna's side of a sweep: which trial comes next, which is pruned, which parameter matters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra, RunError
from polytask.core.json_files import as_written
from polytask.studies.journal import Journal
from polytask.studies.statistics import less_is_better
from polytask.studies.sweep import Sweep, grid

# Trials that must have ended before their median prunes others.
STARTUP = 4
_PRUNED, _SECONDS = "pruned", "seconds"


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that ended: its parameters, its metrics and seconds (None if it was pruned)."""

    number: int
    drawn: dict[str, Any]
    values: tuple[float, ...] | None
    seconds: float | None


def available() -> None:
    """Raise `MissingExtra` with the pip command if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise MissingExtra("polytask sweep", "sweep") from None


def pruner_of(sweep: Sweep) -> Any:
    """Return Optuna's pruner of a sweep; it judges trials by scores and the updates they were taken at."""
    import optuna

    return {"median": lambda: optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
            "asha": optuna.pruners.SuccessiveHalvingPruner, "hyperband": optuna.pruners.HyperbandPruner,
            "none": optuna.pruners.NopPruner}[sweep.pruner]()


class Search:
    """A search in a journal file. Trials are numbered from 0."""

    def __init__(self, sweep: Sweep, study: Any) -> None:
        self.sweep, self.study = sweep, study

    @classmethod
    def open(cls, sweep: Sweep, journal: Path, seed: int) -> Search:
        """Return the search of a journal; a new one if there is none."""
        import optuna
        from optuna.storages import JournalStorage

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.TPESampler(seed=seed)  # a grid's trials are given, not drawn
            # Whatever a damaged journal makes the library raise.
            with as_written(journal, remedy="; give another --out", also=(Exception,)):
                study = cls._study(sweep, JournalStorage(Journal(journal)), "sweep", sampler)
        search = cls(sweep, study)
        if problem := search._problem():
            raise RunError(f"{journal}: {problem}; give another --out")
        # The seed depends on the trials so far: a killed search must not draw its first trials again.
        if sweep.sampler == "tpe" and search.asked:
            study.sampler = optuna.samplers.TPESampler(seed=seed + search.asked)
        with as_written(journal, remedy="; give another --out", also=(Exception,)):
            search._draw_what_is_missing()
        return search

    @staticmethod
    def _study(sweep: Sweep, storage: Any, name: str, sampler: Any) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(
            storage=storage, study_name=name, sampler=sampler, pruner=pruner_of(sweep), load_if_exists=True,
            directions=["minimize" if less_is_better(metric) else "maximize" for metric in sweep.metrics])

    def beat(self, number: int) -> None:
        """Let others know that a trial is at work."""

    @property
    def others_at_work(self) -> bool:
        """Whether trials are at work elsewhere, which this process may have to try again."""
        return False

    def folder_number(self, number: int) -> int:
        """Return whose folder a trial has: of one that is tried again, the first attempt's."""
        return number

    def release(self, number: int) -> None:
        """Give back a trial that was stopped, for this search to resume or others to try."""

    def close(self) -> None:
        """Close the connections of a database."""

    def fail(self, number: int) -> None:
        """Record that a trial's training failed; it stays open for the next call."""

    def _problem(self) -> str | None:
        """Return which trial cannot be one of this sweep, or None."""
        choices = {parameter.name: len(parameter.values) for parameter in self.sweep.parameters
                   if parameter.values}
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name in ("COMPLETE", "PRUNED") and {*trial.params} != self._names:
                return f"trial {trial.number} drew {', '.join(trial.params) or 'nothing'}"
            for name, value in trial.params.items():
                if not (isinstance(value, int) and 0 <= value < choices[name] if name in choices
                        else isinstance(value, int | float)):
                    return f"trial {trial.number} drew {str(value)[:40]} of {name}"
            if trial.values and len(trial.values) != len(self.sweep.metrics):
                return f"trial {trial.number} has {len(trial.values)} values"
            reported = trial.intermediate_values
            for value in (*(trial.values or ()), *reported, *reported.values(),
                          trial.user_attrs.get(_SECONDS, 0)):
                if not isinstance(value, int | float):
                    return f"trial {trial.number} has {str(value)[:40]!r} where a number belongs"
        return None

    @property
    def asked(self) -> int:
        """The number of trials so far."""
        return len(self.study.get_trials(deepcopy=False)) - len(self._waiting())

    def _waiting(self) -> list[Any]:
        import optuna

        return self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))  # type: ignore[no-any-return]

    def left_open(self) -> list[int]:
        """Return the trials without a result: killed, interrupted or failed."""
        import optuna

        return [trial.number for trial in self.study.get_trials(deepcopy=False)
                if trial.state == optuna.trial.TrialState.RUNNING and set(trial.params) == self._names]

    @property
    def _names(self) -> set[str]:
        return {parameter.name for parameter in self.sweep.parameters}

    def _draw_what_is_missing(self) -> None:
        """Complete a trial that a kill left between its number and its last parameter."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and {*trial.params} < self._names:
                self._draw(self._open(trial.number))

    def ask(self) -> int | None:
        """Return the number of a new trial; None if a grid has none left."""
        if self.sweep.sampler == "grid" and not self._waiting():
            taken = [trial.params for trial in self.study.get_trials(deepcopy=False)]
            left = next((places for places in grid(self.sweep) if places not in taken), None)
            if left is None:
                return None
            self.study.enqueue_trial(left)
        trial = self.study.ask()
        self._draw(trial)
        return int(trial.number)

    def _draw(self, trial: Any) -> None:
        for parameter in self.sweep.parameters:
            name, low, high = parameter.name, parameter.low, parameter.high
            if parameter.values:
                trial.suggest_categorical(name, list(range(len(parameter.values))))
            elif parameter.whole:
                trial.suggest_int(name, int(low), int(high), log=parameter.log)
            else:
                trial.suggest_float(name, low, high, log=parameter.log)

    def drawn(self, number: int) -> dict[str, Any]:
        """Return what a trial drew: a place in a list, or a number, for each parameter."""
        return dict(self.study.get_trials(deepcopy=False)[number].params)

    def _open(self, number: int) -> Any:
        import optuna

        return optuna.trial.Trial(self.study, self.study.get_trials(deepcopy=False)[number]._trial_id)

    def report(self, number: int, step: int, value: float) -> None:
        """Report a trial's score after `step` updates."""
        trial = self.study.get_trials(deepcopy=False)[number]
        if step not in trial.intermediate_values:
            self._open(number).report(value, step)

    def prunes(self, number: int) -> bool:
        """Return whether a trial is worse than the median of the others at the same step."""
        if self.pruned(number):
            return True
        trial = self._open(number)
        if not trial.should_prune():
            return False
        trial.set_user_attr(_PRUNED, True)
        return True

    def pruned(self, number: int) -> bool:
        """Return whether a trial was pruned, whether or not its run has stopped yet."""
        return bool(self.study.get_trials(deepcopy=False)[number].user_attrs.get(_PRUNED))

    def tell(self, number: int, values: Sequence[float], seconds: float) -> None:
        """End a trial with its metrics."""
        trial = self._open(number)
        trial.set_user_attr(_SECONDS, seconds)
        self.study.tell(trial, list(values))

    def end_pruned(self, number: int) -> None:
        """End a pruned trial."""
        import optuna

        self.study.tell(self._open(number), state=optuna.trial.TrialState.PRUNED)

    def finished(self) -> list[FinishedTrial]:
        """Return the trials that ended, in order."""
        import optuna

        states = optuna.trial.TrialState
        return [FinishedTrial(trial.number, dict(trial.params),
                              tuple(trial.values) if trial.state == states.COMPLETE else None,
                              trial.user_attrs.get(_SECONDS))
                for trial in self.study.get_trials(deepcopy=False)
                if trial.state in (states.COMPLETE, states.PRUNED)]

    def importances(self) -> dict[str, dict[str, float]]:
        """Return metric → parameter → its share of what the parameters explain (fANOVA).

        A metric is left out if there are too few trials, or no two that differ.
        """
        import optuna

        complete = [trial for trial in self.finished() if trial.values is not None]
        shares: dict[str, dict[str, float]] = {}
        for place, metric in enumerate(self.sweep.metrics):
            values = {trial.values[place] for trial in complete if trial.values}
            if len(complete) < STARTUP or len(values) < 2:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shares[metric] = optuna.importance.get_param_importances(
                    self.study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
                    target=lambda trial, place=place: trial.values[place])
        return shares


def goodness(values: Sequence[float], metrics: Sequence[str]) -> tuple[float, ...]:
    """Return a trial's metrics such that more is better: errors negated."""
    return tuple(-value if less_is_better(metric) else value
                 for value, metric in zip(values, metrics, strict=True))


def front(trials: Sequence[FinishedTrial], metrics: Sequence[str]) -> list[FinishedTrial]:
    """Return the Pareto front: trials that no other one equals in all metrics and beats in one."""
    complete = [(trial, goodness(trial.values, metrics)) for trial in trials if trial.values is not None]
    best = [trial for trial, values in complete
            if not any(other != values and all(a >= b for a, b in zip(other, values, strict=True))
                       for _, other in complete)]
    return best[:1] if best and len(best[0].values or ()) == 1 else best
