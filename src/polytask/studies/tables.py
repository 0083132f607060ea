"""The result of a study as Markdown, CSV and JSON, and as tables for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from polytask.core.markdown import markdown_table, plain
from polytask.core.results_file import seconds_text
from polytask.core.terminal import terminal_text
from polytask.model.packaged import training_notes
from polytask.studies.comparison import SINGLE, ComparedRow, Comparison, Order
from polytask.studies.statistics import Cell, Difference, less_is_better

HOW = ("Mean over seeds ± standard error. The error comes from resampled dev rows (the same samples for "
       "all rows of the study scored on the same dev rows) and, with two or more seeds, from the seeds. A "
       "difference of up to two standard errors is a tie; with few seeds, Student's t decides.")
ONE_SEED = "With one seed a verdict compares two runs; how much another seed would change it is unknown."
OTHER_ROWS = "*: scored on different dev rows from the row it is compared with."
ALONE = ("Each single-task run has its task's rows, batch size and number of epochs in the base row, an "
         "epoch being one pass over its own rows; where max_steps ends the base row's training, it has the "
         "updates that its task has there. Seconds and tokens are the sum over the tasks.")
# Contradictions of a claimed order that are named, the widest first; the rest are counted.
_NAMED = 5


def markdown(comparison: Comparison, about: Mapping[str, str]) -> str:
    """Return the whole result as Markdown."""
    lines = [f"# {plain(comparison.study.title)}", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    for title, header, rows in sections(comparison):
        lines += [*(["", f"## {plain(title)}"] if title else []), "", *markdown_table(header, rows)]
    for paragraph in remarks(comparison):
        lines += ["", plain(paragraph)]
    if comparison.failed:
        lines += ["", "## Failed", "",
                  *(f"- {plain(line.row.name)}: {plain(line.failed)}" for line in comparison.failed)]
    if notes := list(_notes(comparison)):
        lines += ["", "## Notes", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def remarks(comparison: Comparison) -> Iterator[str]:
    """Yield how the numbers were computed, and how the rows compare with the claimed orders."""
    differences = [difference for line in comparison.lines for by_key in (line.differences, line.gains)
                   for difference in by_key.values()]
    yield " ".join([HOW, *[ONE_SEED] * any(len(line.seeds) == 1 for line in comparison.lines),
                    *[OTHER_ROWS] * any(not difference.same_rows for difference in differences)])
    if comparison.single:
        yield ALONE
    yield from caveats(comparison)
    yield from map(_order, comparison.orders)


def caveats(comparison: Comparison) -> list[str]:
    """Return what readers must know about the checkpoints that the rows start from, on real data."""
    notes: dict[str, None] = {}
    for line in comparison.lines:
        config = line.row.config
        if config.get("data", {}).get("root") != "sample":
            checkpoint = str(config.get("encoder", {}).get("checkpoint", ""))
            notes |= dict.fromkeys(training_notes(checkpoint, [json.dumps(config.get("tasks", {}))]))
    return list(notes)


def sections(comparison: Comparison) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield the tables: a title, the names of the columns, the cells."""
    keys, primary = comparison.keys, comparison.primary
    lines = [*comparison.lines, *([comparison.single] if comparison.single else [])]
    yield ("", ["row", "seeds", *keys, "s per run", "tokens", "MB"],
           [[line.row.name, _count(line), *(_score(line.cells.get(key)) for key in keys), *_cost(line)]
            for line in lines])
    if len(comparison.lines) > 1:
        yield (f"Difference to {comparison.study.against}", ["row", *keys, "p", "verdict"],
               [[line.row.name, *(_signed(line.differences.get(key)) for key in keys),
                 *_verdict(line.differences.get(primary))]
                for line in comparison.lines if line.differences])
    if comparison.single is not None and any(line.gains for line in comparison.lines):
        yield ("Gain over single-task runs", ["row", *keys, "verdict"],
               [[line.row.name, *(_signed(line.gains.get(key)) for key in keys),
                 _verdict(line.gains.get(primary))[1]] for line in comparison.lines if line.gains])
    claims = [[line.row.name, key, f"{claim.claimed:g}",
               "not measured" if claim.measured is None else f"{claim.measured:.3f}",
               "" if claim.error is None else f"{claim.error:.3f}",
               "" if claim.measured is None else f"{claim.measured - claim.claimed:+.3f}"]
              for line in comparison.lines for key, claim in line.claims.items()]
    if claims:
        yield ("Claimed and measured",
               ["row", "what", "claimed", "measured", "standard error", "difference"], claims)


def _count(line: ComparedRow) -> str:
    return str(len(line.seeds)) if line.seeds else "failed" if line.failed else "not run"


def _score(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    spread = "" if cell.deviation is None else f" (sd {cell.deviation:.3f})"
    return f"{cell.mean:.3f} ± {cell.error:.3f}{spread}"


def _signed(difference: Difference | None) -> str:
    return "–" if difference is None else f"{difference.mean:+.3f} ± {difference.error:.3f}"


def _verdict(difference: Difference | None) -> list[str]:
    if difference is None:
        return ["", ""]
    chance = f"{difference.p:.3f}" if difference.p >= 0.0005 else "below 0.001"
    return [chance, difference.verdict + "*" * (not difference.same_rows)]


def _cost(line: ComparedRow) -> list[str]:
    if not line.cost:
        return ["–"] * 3
    return [seconds_text(line.seconds_by_machine),
            *(f"{line.cost[key]:,.0f}" for key in ("tokens", "peak_memory_mb"))]


def _order(order: Order) -> str:
    """Return a sentence comparing the order of the rows with the claimed one."""
    facts = [] if order.correlation is None else [f"rank correlation {order.correlation:+.2f}"]
    contradict = len(order.contradictions)
    if order.agree or order.tie or contradict:
        facts.append(f"of the pairs that the paper orders: agreeing {order.agree}, tied {order.tie}, "
                     f"contradicting {contradict}"
                     + (f", of which the {_NAMED} widest are named" if contradict > _NAMED else ""))
    else:
        facts.append("the pairs are not judged, because these scores have no standard error")
    sentence = f"Order of the {order.rows} rows by {order.key}: {', '.join(facts)}"
    claimed_way, our_way = ("below", "above") if less_is_better(order.key) else ("above", "below")
    named = [f"{high} is claimed {abs(claimed):g} {claimed_way} {low} and measured {abs(ours.mean):.3f} ± "
             f"{ours.error:.3f} {our_way}" for high, low, claimed, ours in order.contradictions[:_NAMED]]
    return f"{sentence}{': ' + '; '.join(named) if named else ''}."


def _notes(comparison: Comparison) -> Iterator[str]:
    yield from comparison.study.notes
    for line in comparison.lines:
        yield from (f"{line.row.name} (ours): {choice}" for choice in line.row.ours)


def as_csv(comparison: Comparison) -> str:
    """Return a line per row and score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "seeds", "what", "mean", "deviation", "error", "low", "high", "difference",
                     "difference_error", "p", "gain", "gain_error"])
    for line in [*comparison.lines, *([comparison.single] if comparison.single else [])]:
        for key, cell in line.cells.items():
            difference, gain = line.differences.get(key), line.gains.get(key)
            numbers = [cell.mean, cell.deviation, cell.error, cell.low, cell.high,
                       *((difference.mean, difference.error, difference.p) if difference else (None,) * 3),
                       *((gain.mean, gain.error) if gain else (None,) * 2)]
            writer.writerow([line.row.name, len(line.seeds), key,
                             *("" if number is None else round(number, 6) for number in numbers)])
    return text.getvalue()


def as_json(comparison: Comparison, about: Mapping[str, str]) -> str:
    """Return everything for programs."""
    result = {
        "title": comparison.study.title, "about": dict(about), "against": comparison.study.against,
        "scores": comparison.keys, "primary": comparison.primary,
        "rows": [_row(line) for line in comparison.lines],
        "single": _row(comparison.single) if comparison.single else None,
        "orders": [{"score": order.key, "rows": order.rows, "rank_correlation": order.correlation,
                    "agree": order.agree, "ties": order.tie, "contradictions": [
                        {"claimed_better": high, "measured_better": low, "claimed": claimed,
                         "measured": vars(difference)}
                        for high, low, claimed, difference in order.contradictions]}
                   for order in comparison.orders],
        "notes": list(_notes(comparison)), "caveats": caveats(comparison)}
    return json.dumps(result, indent=2, ensure_ascii=False) + "\n"


def _row(line: ComparedRow) -> dict[str, Any]:
    def by_key(differences: Mapping[str, Difference]) -> dict[str, Any]:
        return {key: difference.to_json() for key, difference in differences.items()}

    return {"name": line.row.name, "seeds": line.seeds, "failed": line.failed,
            "scores": {key: vars(cell) for key, cell in line.cells.items()},
            "differences": by_key(line.differences), "gains": by_key(line.gains), "cost": line.cost,
            "seconds_by_machine": line.seconds_by_machine,
            "claims": {key: vars(claim) for key, claim in line.claims.items()}}


def terminal(comparison: Comparison) -> list[Any]:
    """Return rich's tables of the result, to print."""
    from rich.table import Table
    from rich.text import Text as RichText

    # As RichText: a name in square brackets is a name, not markup.
    def shown(text: str) -> RichText:
        return RichText(terminal_text(text))

    parts: list[Any] = []
    for title, header, rows in sections(comparison):
        table = Table(title=shown(title or comparison.study.title), title_justify="left")
        for name in header:
            table.add_column(shown(name), justify="left" if name in ("row", "what", "verdict") else "right")
        for row in rows:
            emphasis = "bold" if row[0] in (comparison.study.against, SINGLE) else None
            table.add_row(*map(shown, row), style=emphasis)
        parts.append(table)
    return [*parts, *map(shown, remarks(comparison)),
            *(shown(f"{line.row.name} failed: {line.failed}") for line in comparison.failed)]
