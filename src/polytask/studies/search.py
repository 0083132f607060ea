"""Optuna's side of a sweep: which trial next, which to give up, which parameter mattered."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.core.errors import ConfigError
from polytask.studies.statistics import less_is_better
from polytask.studies.sweep import Sweep, grid

# Trials that end before a median says anything of the next ones.
STARTUP = 4
_GIVEN_UP, _SECONDS = "given_up", "seconds"


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that ended: its numbers, its metrics (None where it was given up), its seconds."""

    number: int
    drawn: dict[str, Any]
    values: tuple[float, ...] | None
    seconds: float


def available() -> None:
    """Raise `ConfigError` with the pip command where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError("polytask sweep: needs Optuna, which is not installed; expected: "
                          "pip install 'polytask[sweep]'") from None


class Search:
    """A search in a journal file. Trials are named by their numbers, from 0."""

    def __init__(self, sweep: Sweep, study: Any) -> None:
        self.sweep, self.study = sweep, study

    @classmethod
    def open(cls, sweep: Sweep, journal: Path, seed: int) -> Search:
        """Return the search of a journal, begun if there is none."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.TPESampler(seed=seed)  # a grid's trials are given, not drawn
            pruner = (optuna.pruners.MedianPruner(n_startup_trials=STARTUP) if sweep.pruner == "median"
                      else optuna.pruners.NopPruner())
            journal.parent.mkdir(parents=True, exist_ok=True)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(journal))), study_name="sweep",
                directions=["minimize" if less_is_better(each) else "maximize"
                            for each in sweep.metrics],
                sampler=sampler, pruner=pruner, load_if_exists=True)
        made = cls(sweep, study)
        # Seeded by what is there too: going on after a kill does not draw the first trials again.
        if sweep.sampler == "tpe" and made.asked:
            study.sampler = optuna.samplers.TPESampler(seed=seed + made.asked)
        return made

    @property
    def asked(self) -> int:
        return len(self.study.get_trials(deepcopy=False)) - len(self._waiting())

    def _waiting(self) -> list[Any]:
        import optuna

        return self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))  # type: ignore[no-any-return]

    def left_open(self) -> list[int]:
        """Return the trials that have no result yet: killed, interrupted, failed."""
        import optuna

        return [each.number for each in self.study.get_trials(deepcopy=False)
                if each.state == optuna.trial.TrialState.RUNNING and set(each.params) == self._names]

    @property
    def _names(self) -> set[str]:
        return {each.name for each in self.sweep.parameters}

    def ask(self) -> int | None:
        """Return the number of a new trial; None where a grid has none left."""
        if self.sweep.sampler == "grid" and not self._waiting():
            taken = [each.params for each in self.study.get_trials(deepcopy=False)]
            left = next((places for places in grid(self.sweep) if places not in taken), None)
            if left is None:
                return None
            self.study.enqueue_trial(left)
        trial = self.study.ask()
        for each in self.sweep.parameters:
            if each.values:
                trial.suggest_categorical(each.name, list(range(len(each.values))))
            elif each.whole:
                trial.suggest_int(each.name, int(each.low), int(each.high), log=each.log)
            else:
                trial.suggest_float(each.name, each.low, each.high, log=each.log)
        return int(trial.number)

    def drawn(self, number: int) -> dict[str, Any]:
        """Return what a trial drew: a place in a list or a number for each parameter."""
        return dict(self.study.get_trials(deepcopy=False)[number].params)

    def _open(self, number: int) -> Any:
        import optuna

        return optuna.trial.Trial(self.study, self.study.get_trials(deepcopy=False)[number]._trial_id)

    def report(self, number: int, step: int, value: float) -> None:
        """Say a trial's score after `step` updates."""
        trial = self.study.get_trials(deepcopy=False)[number]
        if step not in trial.intermediate_values:
            self._open(number).report(value, step)

    def gives_up(self, number: int) -> bool:
        """Return whether a trial is worse than the median of the others at the same step."""
        if self.given_up(number):
            return True
        trial = self._open(number)
        if not trial.should_prune():
            return False
        trial.set_user_attr(_GIVEN_UP, True)
        return True

    def given_up(self, number: int) -> bool:
        return bool(self.study.get_trials(deepcopy=False)[number].user_attrs.get(_GIVEN_UP))

    def tell(self, number: int, values: Sequence[float], seconds: float) -> None:
        """End a trial with its metrics."""
        trial = self._open(number)
        trial.set_user_attr(_SECONDS, seconds)
        self.study.tell(trial, list(values))

    def prune(self, number: int) -> None:
        """End a trial that was given up."""
        import optuna

        self.study.tell(self._open(number), state=optuna.trial.TrialState.PRUNED)

    def finished(self) -> list[FinishedTrial]:
        """Return the trials that ended, in their order."""
        import optuna

        states = optuna.trial.TrialState
        return [FinishedTrial(each.number, dict(each.params),
                         tuple(each.values) if each.state == states.COMPLETE else None,
                         float(each.user_attrs.get(_SECONDS, 0.0)))
                for each in self.study.get_trials(deepcopy=False)
                if each.state in (states.COMPLETE, states.PRUNED)]

    def importances(self) -> dict[str, dict[str, float]]:
        """Return metric → parameter → its share of what the parameters explain (fANOVA).

        Empty where there are too few trials, or none that differ, to tell.
        """
        import optuna

        whole = [each for each in self.finished() if each.values is not None]
        made: dict[str, dict[str, float]] = {}
        for place, metric in enumerate(self.sweep.metrics):
            values = {each.values[place] for each in whole if each.values}
            if len(whole) < STARTUP or len(values) < 2:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[metric] = optuna.importance.get_param_importances(
                    self.study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
                    target=lambda trial, place=place: trial.values[place])
        return made


def front(trials: Sequence[FinishedTrial], metrics: Sequence[str]) -> list[FinishedTrial]:
    """Return the trials that no other is as good as in all metrics and better in one."""
    signs = [-1 if less_is_better(each) else 1 for each in metrics]
    whole = [(each, tuple(sign * value for sign, value in zip(signs, each.values, strict=True)))
             for each in trials if each.values is not None]
    best = [each for each, mine in whole
            if not any(other != mine and all(a >= b for a, b in zip(other, mine, strict=True))
                       for _, other in whole)]
    return best[:1] if best and len(best[0].values or ()) == 1 else best
