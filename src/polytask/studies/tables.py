"""The result of a study as Markdown, CSV, JSON, one HTML page, and tables for a terminal."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polytask.model.packaged import training_notes
from polytask.studies.comparison import SINGLE, Comparison, Line, Order
from polytask.studies.statistics import Cell, Difference, less_is_better

HOW = ("Mean over seeds ± standard error: of dev rows drawn again (the same draws for every row of the "
       "study that was scored on the same rows) and, with two or more seeds, of the seeds. A difference of "
       "at most two standard errors is a tie; with few seeds, one that Student's t holds as likely.")
ONE_SEED = "With one seed a verdict is about two runs: what another seed would have changed is not known."
OTHER_ROWS = "*: scored on other dev rows than the row that it is compared with."
BUDGET = ("The single-task runs have the budget of the base row: each task's own rows, batch size and "
          "epochs, without the other tasks; seconds and tokens are their sum.")
# Contradictions of a claimed order that are named; the rest are counted.
_NAMED = 5


def markdown(found: Comparison, about: Mapping[str, str]) -> str:
    """Return the whole result as Markdown."""
    parts = [f"# {found.study.title}", "", *(f"- {name}: {value}" for name, value in about.items())]
    for title, head, rows in sections(found):
        parts += ["", f"## {title}", "", *_table(head, rows)] if title else ["", *_table(head, rows)]
    parts += ["", _how(found), *(["", BUDGET] if found.single else []),
              *(line for note in _caveats(found) for line in ("", note))]
    parts += [line for order in found.orders for line in ("", _said(order))]
    if found.failed:
        parts += ["", "## Failed", "", *(f"- {line.row.name}: {line.failed}" for line in found.failed)]
    if notes := list(_notes(found)):
        parts += ["", "## Notes", "", *(f"- {note}" for note in notes)]
    return "\n".join(parts) + "\n"


def _how(found: Comparison) -> str:
    """Return how the numbers were made, and what is to be known of these."""
    every = [each for line in found.lines for held in (line.differences, line.gains)
             for each in held.values()]
    return " ".join([HOW, *[ONE_SEED] * any(len(line.seeds) == 1 for line in found.lines),
                     *[OTHER_ROWS] * any(not each.same_rows for each in every)])


def sections(found: Comparison) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield the tables: a title, the names of the columns, the cells."""
    every = [*found.lines, *([found.single] if found.single else [])]
    yield ("", ["row", "seeds", *found.keys, "s a run", "tokens", "MB"],
           [[line.row.name, _count(line), *(_score(line.cells.get(key)) for key in found.keys),
             *_cost(line)] for line in every])
    if len(found.lines) > 1:
        yield (f"Difference to {found.study.against}", ["row", *found.keys, "p", "verdict"],
               [[line.row.name, *(_signed(line.differences.get(key)) for key in found.keys),
                 *_verdict(line.differences.get(found.primary))]
                for line in found.lines if line.differences])
    if found.single is not None and any(line.gains for line in found.lines):
        yield ("Gain over single-task runs", ["row", *found.keys, "verdict"],
               [[line.row.name, *(_signed(line.gains.get(key)) for key in found.keys),
                 _verdict(line.gains.get(found.primary))[1]] for line in found.lines if line.gains])
    claims = [[line.row.name, key, f"{claim.claimed:g}",
               "not measured" if claim.measured is None else f"{claim.measured:.3f}",
               "" if claim.error is None else f"{claim.error:.3f}",
               "" if claim.measured is None else f"{claim.measured - claim.claimed:+.3f}"]
              for line in found.lines for key, claim in line.claims.items()]
    if claims:
        yield ("Claimed and measured",
               ["row", "what", "claimed", "measured", "standard error", "difference"], claims)


def _count(line: Line) -> str:
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
    chance = f"{difference.p:.3f}" if difference.p >= 0.0005 else "<0.001"
    return [chance, difference.verdict + "*" * (not difference.same_rows)]


def _cost(line: Line) -> list[str]:
    if not line.cost:
        return ["–"] * 3
    return [f"{line.cost[key]:,.0f}" for key in ("seconds", "tokens", "peak_memory_mb")]


def _said(order: Order) -> str:
    said = [] if order.correlation is None else [f"rank correlation {order.correlation:+.2f}"]
    against = len(order.contradictions)
    if order.agree or order.tie or against:
        said.append(f"of the pairs that the paper orders {order.agree} agree, {order.tie} are ties, "
                    f"{against} contradict it")
    else:
        said.append("the pairs are not judged, for these scores have no standard error")
    text = f"Order of the {order.rows} rows by {order.key}: {', '.join(said)}"
    ways = ("below", "above") if less_is_better(order.key) else ("above", "below")
    named = [f"{high} is claimed {abs(claimed):g} {ways[0]} {low} and measured {abs(found.mean):.3f} ± "
             f"{found.error:.3f} {ways[1]}" for high, low, claimed, found in order.contradictions[:_NAMED]]
    return f"{text}{': ' + '; '.join(named) if named else ''}."


def _caveats(found: Comparison) -> list[str]:
    """Return what the checkpoints of the rows saw in their own training of the data scored here."""
    notes: list[str] = []
    for line in found.lines:
        config = line.row.config
        if config.get("data", {}).get("root") != "sample":
            checkpoint = str(config.get("encoder", {}).get("checkpoint", ""))
            notes += training_notes(checkpoint, [json.dumps(config.get("tasks", {}))])
    return list(dict.fromkeys(notes))


def _notes(found: Comparison) -> Iterator[str]:
    yield from found.study.notes
    for line in found.lines:
        yield from (f"{line.row.name}: ours: {each}" for each in line.row.ours)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def as_csv(found: Comparison) -> str:
    """Return a line a row and score."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(["row", "seeds", "what", "mean", "deviation", "error", "low", "high", "difference",
                     "difference_error", "p", "gain", "gain_error"])
    for line in [*found.lines, *([found.single] if found.single else [])]:
        for key, cell in line.cells.items():
            against, gain = line.differences.get(key), line.gains.get(key)
            numbers = [cell.mean, cell.deviation, cell.error, cell.low, cell.high,
                       *((against.mean, against.error, against.p) if against else (None,) * 3),
                       *((gain.mean, gain.error) if gain else (None,) * 2)]
            writer.writerow([line.row.name, len(line.seeds), key,
                             *("" if x is None else round(x, 6) for x in numbers)])
    return made.getvalue()


def as_json(found: Comparison, about: Mapping[str, str]) -> str:
    """Return everything for programs."""
    told = {"title": found.study.title, "about": dict(about), "against": found.study.against,
            "scores": found.keys, "primary": found.primary, "rows": [_row(line) for line in found.lines],
            "single": _row(found.single) if found.single else None,
            "orders": [{"score": order.key, "rows": order.rows, "rank_correlation": order.correlation,
                        "agree": order.agree, "ties": order.tie, "contradictions": [
                            {"claimed_better": high, "measured_better": low, "claimed": claimed,
                             "measured": vars(difference)}
                            for high, low, claimed, difference in order.contradictions]}
                       for order in found.orders],
            "notes": list(_notes(found)), "caveat": " ".join(_caveats(found)) or None}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _row(line: Line) -> dict[str, Any]:
    def all_of(held: Mapping[str, Difference]) -> dict[str, Any]:
        return {key: each.told() for key, each in held.items()}

    return {"name": line.row.name, "seeds": line.seeds, "failed": line.failed,
            "scores": {key: vars(cell) for key, cell in line.cells.items()},
            "differences": all_of(line.differences), "gains": all_of(line.gains), "cost": line.cost,
            "claims": {key: vars(claim) for key, claim in line.claims.items()}}


def as_html(text: str, title: str) -> str:
    """Return the Markdown of `markdown` as one page that needs nothing else."""
    body: list[str] = []
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([html.escape(cell.strip().replace("\\|", "|"))
                         for cell in line.strip("|").split(" | ")])
            continue
        if rows:
            head, _, *rest = rows
            cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rest)
            names = "".join(f"<th>{cell}</th>" for cell in head)
            body.append(f"<table><tr>{names}</tr>{cells}</table>")
            rows = []
        level = len(line) - len(line.lstrip("#"))
        said = html.escape(line.lstrip("# ").removeprefix("- "))
        body.append(f"<h{level}>{said}</h{level}>" if level else f"<p>{said}</p>" if said else "")
    style = ("body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}"
             "table{border-collapse:collapse;display:block;overflow-x:auto}"
             "td,th{padding:.25rem .6rem;border-bottom:1px solid #8886;text-align:left}"
             ":root{color-scheme:light dark}")
    return (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
            f"content='width=device-width'><title>{html.escape(title)}</title><style>{style}</style>"
            f"<body>{''.join(body)}</body></html>\n")


def terminal(found: Comparison) -> list[Any]:
    """Return rich's tables of the result, to print."""
    from rich.table import Table

    made = []
    for title, head, rows in sections(found):
        table = Table(title=title or found.study.title, title_justify="left")
        for name in head:
            table.add_column(name, justify="left" if name in ("row", "what", "verdict") else "right")
        for row in rows:
            table.add_row(*row, style="bold" if row[0] in (found.study.against, SINGLE) else None)
        made.append(table)
    return [*made, HOW, *([BUDGET] if found.single else []), *_caveats(found),
            *(_said(order) for order in found.orders),
            *(f"{line.row.name} failed: {line.failed}" for line in found.failed)]
