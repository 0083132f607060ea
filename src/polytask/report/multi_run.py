"""Several runs on one page: a study's rows beside one another, curves laid over each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from polytask.core.results_file import seconds_text
from polytask.report import svg
from polytask.report.charts import Points, bars, curves
from polytask.report.record import RunRecord
from polytask.report.sections.contract import figure, legend, note, section_title, side_by_side, soft, table
from polytask.report.sections.curves import is_curve, losses, main_scores
from polytask.report.svg import Figure

Parts = list[tuple[str, str, str]]
ResultRow = Mapping[str, Any]
"""A row of a study's `results.json`."""
# Runs whose curves can be told apart in one figure.
MOST = svg.NUM_COLOURS
# The room for a row's name beside its difference, in pixels.
LONGEST = 260.0


def chosen_runs(results: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return (row, seed) of the runs whose curves a study shows: the base row, then the best rows."""
    key = results["primary"]
    rows = [row for row in results["rows"] if row["seeds"]]
    best = sorted(rows, key=lambda row: (row["name"] != results["against"],
                                         -row["scores"].get(key, {"mean": float("-inf")})["mean"]))
    return [(row["name"], row["seeds"][0]) for row in best[:MOST]]


def overlaid(runs: Mapping[str, RunRecord], which: str = "") -> Parts:
    """Return the curves of several runs over each other, score by score (T-33, T-14), and their losses."""
    shown = dict(list(runs.items())[:MOST])
    if len(runs) > MOST:
        which = f"The first {MOST} of {len(runs)} runs."
    scores = _by_name({name: main_scores(run.evaluations) for name, run in shown.items()})
    by_task = _by_name({name: losses(run.steps) for name, run in shown.items()})
    lead = soft(which) if which else ""
    return [("curves", "Dev scores over updates", lead + _figures(scores, list(shown), "score")),
            ("losses", "Training losses over updates", lead + _figures(by_task, list(shown), "loss"))]


def compared(runs: Mapping[str, RunRecord]) -> Parts:
    """Return the page of several runs: their final dev scores, gains over the first, curves."""
    final = {name: {key: points[-1][1] for key, points in main_scores(run.evaluations).items()}
             | _final_scores(run) for name, run in runs.items()}
    keys = list(dict.fromkeys(key for scores in final.values() for key in scores))
    if not keys:
        return [("results", "Dev scores", note("No run has been evaluated yet.")), *overlaid(runs)]
    body = [[name, *(_shown(scores, key) for key in keys)] for name, scores in final.items()]
    parts = [("results", "Dev scores", table(["run", *keys], body))]
    first, *others = runs
    base = final[first]
    comparable = {other: _comparable(final[other], base) for other in others}
    common = [key for key in keys if all(key in scores for scores in comparable.values())]
    gains = [(other, [scores[key] - base[key] for key in common]) for other, scores in comparable.items()]
    title = f"Dev score minus that of {first}"
    drawn = (figure(Figure(bars(common, gains, "difference"), title, tuple(others))) if common
             else note("The runs have no task in common."))
    rows = [[other, *(f"{scores[key] - base[key]:+.3f}" if key in scores else "–" for key in keys)]
            for other, scores in comparable.items()]
    parts.append(("gains", "Gains", drawn + table(["run", *keys], rows)))
    return parts + overlaid(runs)


def _comparable(scores: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """Return the scores that can be compared with another run's: overall ones only for the same tasks."""
    tasks, base_tasks = ({key for key in keys if not key.startswith("overall")} for keys in (scores, base))
    return {key: value for key, value in scores.items()
            if key in base and (key in tasks or tasks == base_tasks)}


def _final_scores(run: RunRecord) -> dict[str, float]:
    """Return the scores of the model that was kept, named as the curves are."""
    dev = run.results.get("dev")
    if not dev:
        return {}
    event = {"step": 0, "dev": dev["scores"], "overall": dev["overall"]}
    return {name: points[-1][1] for name, points in main_scores([event]).items()}


def _shown(scores: Mapping[str, float], key: str) -> str:
    return f"{scores[key]:.3f}" if key in scores else "–"


def _by_name(series: Mapping[str, Mapping[str, Points]]) -> dict[str, dict[str, Points]]:
    """Turn run → score → points into score → run → points."""
    turned: dict[str, dict[str, Points]] = {}
    for run, by_name in series.items():
        for name, points in by_name.items():
            turned.setdefault(name, {})[run] = points
    return turned


def _figures(series: Mapping[str, Mapping[str, Points]], names: list[str], ylabel: str) -> str:
    drawn = {name: by_run for name, by_run in series.items() if is_curve(by_run)}
    if not drawn:
        return note("No curves: no run has been evaluated at two updates.")
    # Every figure has all runs, so that a run has one colour throughout.
    return legend(names) + side_by_side(
        figure(Figure(curves({run: by_run.get(run, []) for run in names}, ylabel), name))
        for name, by_run in drawn.items())


def study_parts(results: Mapping[str, Any], runs: Mapping[str, RunRecord]) -> Parts:
    """Return the page of a study from its `results.json` and the runs of `chosen_runs`."""
    rows = [row for row in results["rows"] if row["scores"]]
    parts = [("results", "Results", _results(results, rows)),
             ("rows", "All rows, all scores", _dots(results)),
             ("gains", "Gains", _gains(results, rows))]
    if any(row["claims"] for row in rows):
        parts.append(("claims", "Claimed and measured", _claims(results, rows)))
    several_seeds = any(len(row["seeds"]) > 1 for row in rows)
    which = ", ".join([*(["the first seed of each row"] if several_seeds else []),
                       *([f"the base row and the {MOST - 1} best"] if len(rows) > MOST else [])])
    parts += overlaid(runs, f"{which[0].upper()}{which[1:]}." if which else "")
    notes = [*results.get("notes", ()), *results.get("caveats", ())]
    if notes:
        parts.append(("notes", "Notes", "".join(map(soft, notes))))
    return parts


def _results(results: Mapping[str, Any], rows: list[ResultRow]) -> str:
    keys = results["scores"]
    numbered: list[tuple[object, ResultRow]] = list(enumerate(rows, 1))
    if results.get("single"):
        numbered.append(("–", results["single"]))
    body = [[number, row["name"], len(row["seeds"]), *(_cell(row["scores"].get(key)) for key in keys),
             seconds_text(row.get("seconds_by_machine") or {"": row["cost"].get("seconds", 0.0)})]
            for number, row in numbered]
    failed = [f"{row['name']} failed: {row['failed']}" for row in results["rows"] if row["failed"]]
    return (table(["number", "row", "seeds", *keys, "s per run"], body)
            + soft("Mean over seeds ± standard error over dev rows and seeds.")
            + "".join(map(note, failed)))


def _cell(score: Mapping[str, Any] | None) -> str:
    return "–" if score is None else f"{score['mean']:.3f} ± {score['error']:.3f}"


def study_figures(results: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield every row by all scores and by each; a dashed line is the mean over the rows (M-41, M-42)."""
    rows, keys = [row for row in results["rows"] if row["scores"]], list(enumerate(results["scores"]))
    if not rows:
        return
    yield "rows", Figure(_points(keys, rows), "Every row (numbered as in the table of results) by every "
                         "score; bars are standard errors, dashed lines the means over the rows",
                         tuple(results["scores"]))
    for number, key in keys:
        file = re.sub(r"[^A-Za-z0-9_.-]+", "-", key)  # a key of someone's results.json leads nowhere else
        yield f"rows-{file}", Figure(_points([(number, key)], rows), key)


def _dots(results: Mapping[str, Any]) -> str:
    parts = [figure(drawn) for _, drawn in study_figures(results)]
    return parts[0] + side_by_side(parts[1:]) if parts else note("No row has finished.")


def _points(keys: list[tuple[int, str]], rows: list[ResultRow]) -> svg.Picture:
    scores = {key: [(place, row["name"], row["scores"][key]) for place, row in enumerate(rows, 1)
                    if key in row["scores"]] for _, key in keys}
    ends = [end for points in scores.values() for _, _, score in points for end in _interval(score)]
    room, tall = (34.0, 300.0) if len(keys) > 1 else (18.0, svg.HEIGHT)
    bounds = (min(ends, default=0.0), max(ends, default=1.0))
    axes = svg.Axes((0.5, len(rows) + 0.5), bounds, "row", "score",
                    width=max(svg.WIDTH, room * len(rows)), height=tall)
    axes.marks = [svg.text(axes.across(place), tall - svg.BOTTOM + 15, str(place))
                  for place in range(1, len(rows) + 1)]
    for number, key in keys:
        if not scores[key]:
            continue
        mean = sum(score["mean"] for _, _, score in scores[key]) / len(scores[key])
        axes.line([(0.5, mean), (len(rows) + 0.5, mean)], number, True, f"{key}, mean of the rows", False)
        for place, name, score in scores[key]:
            title = f"{name}, {key}: {_cell(score)}"
            axes.line([(place, end) for end in _interval(score)], number, title=title, marked=False)
            axes.line([(place, score["mean"])], number, title=title)
    return axes.picture()


def _interval(score: Mapping[str, Any], errors: int = 1) -> tuple[float, float]:
    return score["mean"] - errors * score["error"], score["mean"] + errors * score["error"]


def _gains(results: Mapping[str, Any], rows: list[ResultRow]) -> str:
    """Draw each row's difference to the base row and gain over single-task runs, score by score (G-39)."""
    parts = []
    for field, what in (("differences", f"Difference to {results['against']}"),
                        ("gains", "Gain over single-task runs")):
        with_field = [row for row in rows if row[field]]
        if not with_field:
            continue
        body = [[row["name"], *(f"{row[field][key]['mean']:+.3f} ± {row[field][key]['error']:.3f}"
                                if key in row[field] else "–" for key in results["scores"]),
                 row[field].get(results["primary"], {}).get("verdict", "")] for row in with_field]
        parts.append(section_title(what) + table(["row", *results["scores"], "verdict"], body)
                     + "".join(_differences(key, with_field, field) for key in
                               sorted(results["scores"], key=lambda key: key != results["primary"])))
    return "".join(parts) or note("There is only one row, and there are no single-task runs.")


def _differences(key: str, rows: list[ResultRow], field: str) -> str:
    differences = [(row["name"], row[field][key]) for row in rows if key in row[field]]
    if not differences:
        return ""
    ends = [end for _, difference in differences for end in _interval(difference, 2)]
    tall, width = 24.0, 640.0
    left = 16.0 + max(svg.text_width(svg.shortened(name, LONGEST)) for name, _ in differences)
    low, high = min(0.0, *ends), max(0.0, *ends)
    scale = (width - left - 10) / ((high - low) or 1.0)
    parts = []
    for place, (name, difference) in enumerate(differences):
        y = 14 + tall * place
        a, b, middle = (left + (x - low) * scale for x in (*_interval(difference, 2), difference["mean"]))
        shade = {"better": "var(--good)", "worse": "var(--bad)"}.get(difference["verdict"], "var(--c7)")
        parts.append(svg.text(left - 8, y + 4, svg.shortened(name, LONGEST), anchor="end")
                     + f'<path d="M{a:.1f} {y}H{b:.1f}" stroke="{shade}" stroke-width=2 />'
                     f'<circle cx={middle:.1f} cy={y} r=4 fill="{shade}"/>')
    zero = left - low * scale
    parts.append(f'<path class=rule d="M{zero:.1f} 2V{tall * len(differences) + 6}"/>')
    return figure(Figure(svg.Picture(width, tall * len(differences) + 10, "".join(parts)),
                         f"{key}: the mean and two standard errors on either side"))


def _claims(results: Mapping[str, Any], rows: list[ResultRow]) -> str:
    body = [[row["name"], key, f"{claim['claimed']:g}",
             "not measured" if claim["measured"] is None else f"{claim['measured']:.3f}"]
            for row in rows for key, claim in row["claims"].items()]
    orders = [f"{order['score']}: rank correlation {order['rank_correlation']:+.2f} over "
              f"{order['rows']} rows{_judged(order)}."
              for order in results["orders"] if order["rank_correlation"] is not None]
    return table(["row", "what", "claimed", "measured"], body) + "".join(map(soft, orders))


def _judged(order: Mapping[str, Any]) -> str:
    """Return how the pairs of rows stand to the claims, if there is an error to judge them by."""
    counts = order["agree"], order["ties"], len(order["contradictions"])
    return "; {} pairs agree, {} are ties, {} contradict".format(*counts) if any(counts) else ""
