"""The result of a sweep as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

from polytask.core.markdown import markdown_table, plain
from polytask.studies.search import FinishedTrial, goodness
from polytask.studies.sweep import Sweep


def markdown(sweep: Sweep, trials: Sequence[FinishedTrial], best: Sequence[FinishedTrial],
             failures: Mapping[int, str], importances: Mapping[str, Mapping[str, float]],
             about: Mapping[str, str]) -> str:
    """Return the whole result as Markdown: the best trials first."""
    lines = [f"# {plain(sweep.title)}", "", *(f"- {name}: {value}" for name, value in about.items()),
             f"- trials: {len(trials)} of {sweep.trials}, {sweep.sampler}", ""]
    lines += markdown_table(header(sweep), rows(sweep, trials, {trial.number for trial in best}))
    for remark in remarks(sweep, importances):
        lines += ["", remark]
    if failures:
        lines += ["", "## Failed", "",
                  *(f"- trial {number}: {plain(complaint)}" for number, complaint in failures.items())]
    if sweep.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in sweep.notes)]
    return "\n".join(lines) + "\n"


def header(sweep: Sweep) -> list[str]:
    """Return the names of the columns of `rows`."""
    return ["trial", *sweep.metrics, *(parameter.name for parameter in sweep.parameters), "s"]


def rows(sweep: Sweep, trials: Sequence[FinishedTrial], bold: Container[int] = ()) -> list[list[str]]:
    """Return a row of cells per trial, the best first; the numbers of some are bold, as in Markdown."""
    ordered = sorted(trials, reverse=True, key=lambda trial: (
        () if trial.values is None else goodness(trial.values, sweep.metrics)))  # () is below all
    return [[f"**{trial.number}**" if trial.number in bold else f"{trial.number}", *_metrics(trial, sweep),
             *(_short(value) for value in sweep.values(trial.drawn).values()), _seconds(trial, 0)]
            for trial in ordered]


def remarks(sweep: Sweep, importances: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the sentences below the table: where the best config is, and which parameters matter."""
    one = len(sweep.metrics) == 1
    what = "The best trial is bold" if one else "Trials that no other trial beats in all metrics are bold"
    sentences = [f"{what}; see its config in `best{'' if one else '-NUMBER'}.toml`."]
    for metric, shares in importances.items():
        ranking = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
        sentences.append(f"Importance for {metric} (fANOVA): {ranking}.")
    return sentences


def _metrics(trial: FinishedTrial, sweep: Sweep) -> list[str]:
    if trial.values is None:
        return ["pruned"] * len(sweep.metrics)
    return [f"{value:.4f}" for value in trial.values]


def _seconds(trial: FinishedTrial, digits: int) -> str:
    return "" if trial.seconds is None else f"{trial.seconds:.{digits}f}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def as_csv(sweep: Sweep, trials: Sequence[FinishedTrial]) -> str:
    """Return a line per trial that ended by itself or was pruned."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [parameter.name for parameter in sweep.parameters]
    writer.writerow(["trial", "state", *sweep.metrics, *names, "seconds"])
    for trial in trials:
        values = sweep.values(trial.drawn)
        writer.writerow([trial.number, "pruned" if trial.values is None else "finished",
                         *(trial.values or [""] * len(sweep.metrics)),
                         *(json.dumps(values[name]) for name in names), _seconds(trial, 2)])
    return text.getvalue()


def as_json(sweep: Sweep, trials: Sequence[FinishedTrial], best: Sequence[FinishedTrial],
            failures: Mapping[int, str], importances: Mapping[str, Mapping[str, float]],
            about: Mapping[str, str]) -> str:
    """Return everything for programs."""
    result = {"title": sweep.title, "about": dict(about), "sampler": sweep.sampler,
              "metrics": list(sweep.metrics), "best": [trial.number for trial in best],
              "trials": [{"number": trial.number, "parameters": sweep.values(trial.drawn),
                          "values": trial.values, "seconds": trial.seconds} for trial in trials],
              "failed": {str(number): complaint for number, complaint in failures.items()},
              "importances": {name: dict(shares) for name, shares in importances.items()}}
    return json.dumps(result, indent=2, ensure_ascii=False) + "\n"
