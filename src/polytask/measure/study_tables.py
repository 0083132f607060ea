"""The result of a study as Markdown, CSV, JSON and one HTML page."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.measure.comparison import OVERALL, Compared, rank_correlation
from polytask.measure.study import Study

CAVEAT = ("MiniLM saw Quora pairs in its own training: paraphrase scores with it are not comparable "
          "with those of the reports.")


def markdown(study: Study, lines: Sequence[Compared], about: Mapping[str, str]) -> str:
    """Return the whole result as Markdown."""
    keys = _keys(lines)
    parts = [f"# {study.title}", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
    parts += _table(["row", "seeds", *keys, f"difference to {study.against}", "", "s a run", "MB"],
                    [_line(line, keys) for line in lines])
    parts += ["", "Mean over seeds ± standard error (over resampled dev rows, and over seeds where "
              "there are two or more). A difference under two standard errors is a tie."]
    if any("minilm" in json.dumps(line.row.config["encoder"]) and "quora" in json.dumps(
            line.row.config["tasks"]) for line in lines):
        parts.append(CAVEAT)
    parts += _claims(lines)
    failed = [line for line in lines if line.failed]
    parts += ["", "## Failed", ""] if failed else []
    parts += [f"- {line.row.name}: {line.failed}" for line in failed]
    notes = [*study.notes, *(f"{line.row.name}: ours: {each}" for line in lines for each in line.row.ours)]
    parts += ["", "## Notes", "", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join(parts) + "\n"


def _keys(lines: Sequence[Compared]) -> list[str]:
    keys = dict.fromkeys(key for line in lines for key in line.cells if key != OVERALL)
    return [*keys, OVERALL]


def _line(line: Compared, keys: Sequence[str]) -> list[str]:
    cells = [f"{cell.mean:.3f} ± {cell.error:.3f}" if (cell := line.cells.get(key)) else "–"
             for key in keys]
    difference = "" if line.difference is None else f"{line.difference[0]:+.3f} ± {line.difference[1]:.3f}"
    return [line.row.name, str(len(line.seeds)) if line.seeds else "failed" if line.failed else "not run",
            *cells, difference, line.verdict, f"{line.seconds:.0f}", f"{line.memory:.0f}"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head),
            *(f"| {' | '.join(row)} |" for row in rows)]


def _claims(lines: Sequence[Compared]) -> list[str]:
    keys = dict.fromkeys(key for line in lines for key in line.claims)
    if not keys:
        return []
    rows = [[line.row.name, key, f"{claim:g}", "not measured" if found is None else f"{found:.3f}",
             "" if found is None else f"{found - claim:+.3f}"]
            for line in lines for key, (claim, found) in line.claims.items()]
    parts = ["", "## Claimed and measured", "",
             *_table(["row", "what", "claimed", "measured", "difference"], rows), ""]
    for key in keys:
        correlation = rank_correlation(lines, key)
        if correlation is not None:
            parts.append(f"- rank correlation of the rows, {key}: {correlation:+.2f}")
    return parts


def as_csv(lines: Sequence[Compared]) -> str:
    """Return a line a row and score."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(["row", "seeds", "what", "mean", "deviation", "error", "low", "high"])
    for line in lines:
        for key, cell in line.cells.items():
            writer.writerow([line.row.name, len(line.seeds), key, *(
                round(x, 6) for x in (cell.mean, cell.deviation, cell.error, cell.low, cell.high))])
    return made.getvalue()


def as_json(study: Study, lines: Sequence[Compared], about: Mapping[str, str]) -> str:
    """Return everything for programs."""
    rows: list[dict[str, Any]] = [
        {"name": line.row.name, "seeds": line.seeds, "failed": line.failed,
         "scores": {key: vars(cell) for key, cell in line.cells.items()},
         "difference": line.difference, "verdict": line.verdict, "seconds": line.seconds,
         "tokens": line.tokens, "peak_memory_mb": line.memory,
         "claims": {key: {"claimed": a, "measured": b} for key, (a, b) in line.claims.items()}}
        for line in lines]
    return json.dumps({"title": study.title, "about": dict(about), "against": study.against,
                       "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def as_html(text: str, title: str) -> str:
    """Return the Markdown of `markdown` as one page that needs nothing else."""
    body, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([html.escape(cell.strip()) for cell in line.strip("|").split(" | ")])
            continue
        if rows:
            head, *rest = rows
            cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
                            for row in rest if not set("".join(row)) <= {"-", "|"})
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
