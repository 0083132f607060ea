"""Several runs on one page: a study's rows beside one another, curves laid over each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.report import svg
from polytask.report.charts import bars
from polytask.report.record import RunRecord
from polytask.report.sections.contract import figure, legend, note, side_by_side, soft, table
from polytask.report.sections.curves import Points, chart, losses, main_scores

Parts = list[tuple[str, str, str]]
# Runs whose curves can be told apart in one figure.
MOST = svg.NUM_COLOURS
# What the name of a row takes at most beside its difference, in pixels.
LONGEST = 260.0


def chosen(told: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return (row, seed) of the runs whose curves a study shows: the base row, then the best rows."""
    key = told["primary"]
    rows = [row for row in told["rows"] if row["seeds"]]
    best = sorted(rows, key=lambda row: (row["name"] != told["against"],
                                         -row["scores"].get(key, {"mean": float("-inf")})["mean"]))
    return [(row["name"], row["seeds"][0]) for row in best[:MOST]]


def overlaid(runs: Mapping[str, RunRecord], said: str = "") -> Parts:
    """Return the curves of several runs over each other, score by score (T-33, T-14), and their losses."""
    held = dict(list(runs.items())[:MOST])
    if len(runs) > MOST:
        said = f"The first {MOST} of {len(runs)} runs."
    scores = _by_name({name: main_scores(run.evaluations) for name, run in held.items()})
    lost = _by_name({name: losses(run.steps) for name, run in held.items()})
    names = list(held)
    lead = soft(said) if said else ""
    return [("curves", "Dev scores over updates", lead + _figures(scores, names, "score")),
            ("losses", "Training losses over updates", lead + _figures(lost, names, "loss"))]


def compared(runs: Mapping[str, RunRecord]) -> Parts:
    """Return what a page of several runs shows: their final dev scores, gains over the first, curves."""
    last = {name: {key: points[-1][1] for key, points in main_scores(run.evaluations).items()} | _final(run)
            for name, run in runs.items()}
    keys = list(dict.fromkeys(key for found in last.values() for key in found))
    first, *others = runs
    body = [[name, *(_signed(found, key, None) for key in keys)] for name, found in last.items()]
    parts = [("results", "Dev scores", table(["run", *keys], body) if keys else note(
        "No run has been evaluated yet."))]
    if keys:
        held = {other: _comparable(last[other], last[first]) for other in others}
        common = [key for key in keys if all(key in found for found in held.values())]
        base, title = last[first], f"Dev score minus that of {first}"
        gains = [(other, [found[key] - base[key] for key in common]) for other, found in held.items()]
        rows = [[other, *(_signed(found, key, base) for key in keys)] for other, found in held.items()]
        drawn = (figure(bars(common, gains, "difference") + legend(others), title) if common
                 else note("The runs have no task in common."))
        parts.append(("gains", "Gains", drawn + table(["run", *keys], rows)))
    return parts + overlaid(runs)


def _comparable(found: Mapping[str, float], over: Mapping[str, float]) -> dict[str, float]:
    """Return the scores that can be set against another run's: an overall one if the tasks are the same."""
    tasks, theirs = ({key for key in each if not key.startswith("overall")} for each in (found, over))
    return {key: value for key, value in found.items()
            if key in over and (key in tasks or tasks == theirs)}


def _final(run: RunRecord) -> dict[str, float]:
    """Return the scores of the model that was kept, named as the curves are."""
    dev = run.results.get("dev")
    if not dev:
        return {}
    event = {"step": 0, "dev": dev["scores"], "overall": dev["overall"]}
    return {name: points[-1][1] for name, points in main_scores([event]).items()}


def _signed(found: Mapping[str, float], key: str, over: Mapping[str, float] | None) -> str:
    if key not in found or (over is not None and key not in over):
        return "–"
    return f"{found[key]:.3f}" if over is None else f"{found[key] - over[key]:+.3f}"


def _by_name(series: Mapping[str, Mapping[str, Points]]) -> dict[str, dict[str, Points]]:
    """Turn run → score → points into score → run → points."""
    made: dict[str, dict[str, Points]] = {}
    for run, found in series.items():
        for name, points in found.items():
            made.setdefault(name, {})[run] = points
    return made


def _figures(series: Mapping[str, Mapping[str, Points]], names: list[str], ylabel: str) -> str:
    if not series:
        return note("There are no curves yet.")
    # Every figure has all runs, so that a run has one colour throughout.
    return legend(names) + side_by_side(
        figure(chart({run: found.get(run, []) for run in names}, ylabel, named=False), name)
        for name, found in series.items())


def study_parts(told: Mapping[str, Any], runs: Mapping[str, RunRecord]) -> Parts:
    """Return the page of a study from its `results.json` and the runs of `chosen`."""
    rows = [row for row in told["rows"] if row["scores"]]
    parts = [("results", "Results", _results(told, rows)),
             ("rows", "All rows, all scores", _dots(told, rows)),
             ("gains", "Gains", _gains(told, rows))]
    if any(row["claims"] for row in rows):
        parts.append(("claims", "Claimed and measured", _claims(told, rows)))
    seeds = any(len(row["seeds"]) > 1 for row in rows)
    said = ", ".join([*(["the first seed of each row"] if seeds else []),
                      *([f"the base row and the {MOST - 1} best"] if len(rows) > MOST else [])])
    parts += overlaid(runs, f"{said[0].upper()}{said[1:]}." if said else "")
    notes = [*told.get("notes", ()), *([told["caveat"]] if told.get("caveat") else [])]
    if notes:
        parts.append(("notes", "Notes", "".join(map(soft, notes))))
    return parts


def _results(told: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> str:
    keys = told["scores"]
    body = [[code, row["name"], len(row["seeds"]), *(_cell(row["scores"].get(key)) for key in keys),
             f"{row['cost'].get('seconds', 0):,.0f}"] for code, row in enumerate(rows, 1)]
    if single := told.get("single"):
        body.append(["–", single["name"], len(single["seeds"]),
                     *(_cell(single["scores"].get(key)) for key in keys),
                     f"{single['cost'].get('seconds', 0):,.0f}"])
    failed = [f"{row['name']} failed: {row['failed']}" for row in told["rows"] if row["failed"]]
    return (table(["code", "row", "seeds", *keys, "s a run"], body)
            + soft("Mean over seeds ± standard error over dev rows and seeds.")
            + "".join(map(note, failed)))


def _cell(held: Mapping[str, Any] | None) -> str:
    return "–" if held is None else f"{held['mean']:.3f} ± {held['error']:.3f}"


def _dots(told: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> str:
    """Draw all rows by every score, each score's mean over the rows as a dashed line (M-41, M-42)."""
    if not rows:
        return note("No row has ended.")
    keys = list(enumerate(told["scores"]))
    every = figure(f"{_points(keys, rows)}{legend(told['scores'])}", "Every row (the codes of the table "
                   "above) by every score; bars are standard errors, dashed lines the means over the rows")
    return every + side_by_side(figure(_points([each], rows), each[1]) for each in keys)


def _points(keys: list[tuple[int, str]], rows: list[Mapping[str, Any]]) -> str:
    cells = {key: [(place, row["scores"][key]) for place, row in enumerate(rows, 1) if key in row["scores"]]
             for _, key in keys}
    ends = [end for found in cells.values() for _, cell in found
            for end in (cell["mean"] - cell["error"], cell["mean"] + cell["error"])]
    room, tall = (34.0, 300.0) if len(keys) > 1 else (18.0, svg.HEIGHT)
    bounds = (min(ends, default=0.0), max(ends, default=1.0))
    axes = svg.Axes((0.5, len(rows) + 0.5), bounds, "row", "score",
                    width=max(svg.WIDTH, room * len(rows)), height=tall)
    axes.marks = [svg.text(axes.across(place), tall - svg.BOTTOM + 15, str(place))
                  for place in range(1, len(rows) + 1)]
    for number, key in keys:
        found = cells[key]
        if not found:
            continue
        mean = sum(cell["mean"] for _, cell in found) / len(found)
        axes.line([(0.5, mean), (len(rows) + 0.5, mean)], number, True, f"{key}, mean of the rows", False)
        for place, cell in found:
            low, high = cell["mean"] - cell["error"], cell["mean"] + cell["error"]
            said = f"{rows[place - 1]['name']}, {key}: {_cell(cell)}"
            axes.line([(place, low), (place, high)], number, title=said, marked=False)
            axes.line([(place, cell["mean"])], number, title=said)
    return str(axes)


def _gains(told: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> str:
    """Draw the difference of each row to the base row, and the gain over single-task runs (G-39)."""
    made = []
    for field, what in (("differences", f"Difference to {told['against']}"),
                        ("gains", "Gain over single-task runs of the same budget")):
        held = [row for row in rows if row[field]]
        if not held:
            continue
        body = [[row["name"], *(f"{row[field][key]['mean']:+.3f} ± {row[field][key]['error']:.3f}"
                                if key in row[field] else "–" for key in told["scores"]),
                 row[field].get(told["primary"], {}).get("verdict", "")] for row in held]
        made.append(f"<h3>{what}</h3>" + table(["row", *told["scores"], "verdict"], body)
                    + _differences(told, held, field))
    return "".join(made) or note("There is one row alone, and no single-task run.")


def _differences(told: Mapping[str, Any], rows: list[Mapping[str, Any]], field: str) -> str:
    key = told["primary"]
    found = [(row["name"], row[field][key]) for row in rows if key in row[field]]
    if not found:
        return ""
    ends = [side for _, each in found for side in (each["mean"] - 2 * each["error"],
                                                   each["mean"] + 2 * each["error"])]
    tall, width = 24.0, 640.0
    left = 16.0 + max(svg.wide(svg.shortened(name, LONGEST)) for name, _ in found)
    low, high = min(0.0, *ends), max(0.0, *ends)
    scale = (width - left - 10) / ((high - low) or 1.0)
    parts = []
    for place, (name, each) in enumerate(found):
        y = 14 + tall * place
        a, b, middle = (left + (x - low) * scale for x in (
            each["mean"] - 2 * each["error"], each["mean"] + 2 * each["error"], each["mean"]))
        shade = {"better": "var(--good)", "worse": "var(--bad)"}.get(each["verdict"], "var(--c7)")
        parts.append(svg.text(left - 8, y + 4, svg.shortened(name, LONGEST), anchor="end")
                     + f'<path d="M{a:.1f} {y}H{b:.1f}" stroke="{shade}" stroke-width=2 />'
                     f'<circle cx={middle:.1f} cy={y} r=4 fill="{shade}"/>')
    zero = left - low * scale
    parts.append(f'<path class=rule d="M{zero:.1f} 2V{tall * len(found) + 6}"/>')
    return figure(svg.picture(width, tall * len(found) + 10, "".join(parts)),
                  f"{key}: the mean and two standard errors on either side")


def _claims(told: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> str:
    body = [[row["name"], key, f"{claim['claimed']:g}",
             "not measured" if claim["measured"] is None else f"{claim['measured']:.3f}"]
            for row in rows for key, claim in row["claims"].items()]
    orders = [f"{order['score']}: rank correlation {order['rank_correlation']:+.2f} over "
              f"{order['rows']} rows{_judged(order)}."
              for order in told["orders"] if order["rank_correlation"] is not None]
    return table(["row", "what", "claimed", "measured"], body) + "".join(map(soft, orders))


def _judged(order: Mapping[str, Any]) -> str:
    """Return how the pairs of rows stand to the claims, where there is an error to judge them by."""
    counts = order["agree"], order["ties"], len(order["contradictions"])
    return "; {} pairs agree, {} are ties, {} contradict".format(*counts) if any(counts) else ""
