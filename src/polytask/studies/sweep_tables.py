"""The result of a sweep as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.studies.search import FinishedTrial
from polytask.studies.sweep import Sweep


def markdown(sweep: Sweep, trials: Sequence[FinishedTrial], best: Sequence[FinishedTrial],
             failures: Mapping[int, str], importances: Mapping[str, Mapping[str, float]],
             about: Mapping[str, str]) -> str:
    """Return the whole result as Markdown: the best trials first."""
    names = [each.name for each in sweep.parameters]
    ordered = sorted(trials, key=lambda each: each.values or (float("-inf"),), reverse=True)
    parts = [f"# {sweep.title}", "", *(f"- {name}: {value}" for name, value in about.items()),
             f"- trials: {len(trials)} of {sweep.trials}, {sweep.sampler}", ""]
    parts += _table(["trial", *sweep.metrics, *names, "s"],
                    [[f"**{each.number}**" if each in best else str(each.number), *_values(each, sweep),
                      *(_short(value) for value in sweep.told(each.drawn).values()), f"{each.seconds:.0f}"]
                     for each in ordered])
    what = "The best trial is bold" if len(sweep.metrics) == 1 else "Trials that no other beats are bold"
    parts += ["", f"{what}; its config is `best{'' if len(sweep.metrics) == 1 else '-NUMBER'}.toml`."]
    for metric, shares in importances.items():
        said = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
        parts += ["", f"Importance for {metric} (fANOVA): {said}."]
    if failures:
        parts += ["", "## Failed", "", *(f"- trial {number}: {said}" for number, said in failures.items())]
    parts += ["", "## Notes", "", *(f"- {note}" for note in sweep.notes)] if sweep.notes else []
    return "\n".join(parts) + "\n"


def _values(trial: FinishedTrial, sweep: Sweep) -> list[str]:
    if trial.values is None:
        return ["given up"] * len(sweep.metrics)
    return [f"{value:.4f}" for value in trial.values]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def as_csv(sweep: Sweep, trials: Sequence[FinishedTrial]) -> str:
    """Return a line a trial."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    names = [each.name for each in sweep.parameters]
    writer.writerow(["trial", "state", *sweep.metrics, *names, "seconds"])
    for each in trials:
        told = sweep.told(each.drawn)
        writer.writerow([each.number, "given up" if each.values is None else "finished",
                         *(each.values or [""] * len(sweep.metrics)),
                         *(json.dumps(told[name]) for name in names), round(each.seconds, 2)])
    return made.getvalue()


def as_json(sweep: Sweep, trials: Sequence[FinishedTrial], best: Sequence[FinishedTrial],
            failures: Mapping[int, str], importances: Mapping[str, Mapping[str, float]],
            about: Mapping[str, str]) -> str:
    """Return everything for programs."""
    told = {"title": sweep.title, "about": dict(about), "sampler": sweep.sampler,
            "metrics": list(sweep.metrics), "best": [each.number for each in best],
            "trials": [{"number": each.number, "parameters": sweep.told(each.drawn),
                        "values": each.values, "seconds": each.seconds} for each in trials],
            "failed": {str(number): said for number, said in failures.items()},
            "importances": {name: dict(shares) for name, shares in importances.items()}}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
