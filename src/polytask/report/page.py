"""The page: its parts one after the other in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from polytask.report.record import RunRecord
from polytask.report.sections import SECTIONS
from polytask.report.sections.contract import note


def run_page(run: RunRecord) -> str:
    """Return the report of one run."""
    parts = []
    for section in sorted(SECTIONS.values(), key=lambda each: each.place):
        try:
            body = section.show(run)
        except Exception as error:  # one part that cannot be drawn must not cost the others
            body = note(f"This part could not be drawn ({type(error).__name__}: {error}).")
        parts.append((section.id, section.title, body))
    ended = run.results.get("finished", "")
    about = [", ".join(run.tasks), str(run.config.get("encoder", {}).get("checkpoint", "")),
             f"seed {run.config.get('seed', '')}", *([f"ended {ended.replace('T', ' ')}"] if ended else [])]
    return page(run.name, " · ".join(each for each in about if each), parts)


def page(title: str, about: str, parts: Sequence[tuple[str, str, str]]) -> str:
    """Return one HTML file: `parts` are (id, title, HTML)."""
    links = "".join(f'<a href="#{id}">{escape(name)}</a>' for id, name, _ in parts)
    body = "".join(f'<section id="{id}"><h2>{escape(name)}</h2>{html}</section>'
                   for id, name, html in parts)
    return ("<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
            '<meta name=viewport content="width=device-width,initial-scale=1">'
            "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src "
            "'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
            f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body>"
            f"<header><h1>{escape(title)}</h1><p class=soft>{escape(about)}</p></header>"
            f"<nav><div>{links}</div></nav><main>{body}</main>"
            "<footer>Made by polytask from the run folder alone; it needs no network.</footer>"
            f"<script>{_asset('page.js')}</script></body></html>\n")


def _asset(name: str) -> str:
    return files("polytask.report").joinpath(name).read_text(encoding="utf-8")
