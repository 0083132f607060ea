"""The page: its parts one after the other, in one file that needs nothing else.

Everything that comes from data, configs or results reaches the page escaped. Should something slip
through, the content security policy lets only our own script run, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from polytask.report.record import RunRecord
from polytask.report.sections import SECTIONS
from polytask.report.sections.contract import note


def run_page(run: RunRecord) -> str:
    """Return the report of one run."""
    parts = []
    for section in sorted(SECTIONS.values(), key=lambda section: section.place):
        try:
            html = section.show(run)
        except Exception as error:  # one part that cannot be drawn must not cost the others
            html = note(f"This part could not be drawn ({type(error).__name__}: {error}).")
        parts.append((section.id, section.title, html))
    ended = str(run.results.get("finished", ""))
    about = [", ".join(run.tasks), str(run.config.get("encoder", {}).get("checkpoint", "")),
             f"seed {run.config.get('seed', '')}", *([f"ended {ended.replace('T', ' ')}"] if ended else [])]
    return page(run.name, " · ".join(filter(None, about)), parts)


def page(title: str, about: str, parts: Sequence[tuple[str, str, str]]) -> str:
    """Return one HTML file: `parts` are (id, title, HTML)."""
    links = "".join(f'<a href="#{id}">{escape(name)}</a>' for id, name, _ in parts)
    body = "".join(f'<section id="{id}"><h2>{escape(name)}</h2>{html}</section>'
                   for id, name, html in parts)
    script = _asset("page.js")
    return ("<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
            '<meta name=viewport content="width=device-width,initial-scale=1">'
            f'<meta http-equiv=Content-Security-Policy content="{_policy(script)}">'
            f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body>"
            f"<header><h1>{escape(title)}</h1><p class=soft>{escape(about)}</p></header>"
            f"<nav><div>{links}</div></nav><main>{body}</main>"
            "<footer>Made by polytask from the run folder alone; needs no network.</footer>"
            f"<script>{script}</script></body></html>\n")


def _policy(script: str) -> str:
    """Return a policy under which nothing is loaded, sent or framed, and only `script` runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
            "base-uri 'none'; form-action 'none'")


def _asset(name: str) -> str:
    return files("polytask.report").joinpath(name).read_text(encoding="utf-8")
