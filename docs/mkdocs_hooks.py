"""What `mkdocs build` adds to the pages in docs/: generated pages, and links that work on the site.

The pages link to each other and to files of the repository as GitHub shows them. On the site, a page of the
repository outside docs/ becomes a page, and any other linked file a copy under source/.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

import site_reference  # noqa: E402

# Pages of the site that are files of the repository outside docs/.
BORROWED = {
    "changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md",
    "architecture.md": "ARCHITECTURE.md", "recipes.md": "recipes/README.md", "security.md": "SECURITY.md",
}
# Where links to folders lead, and to files that have a page of another name.
PLACES = {
    "docs/families": "families/index.md", "docs/results": "results.md", "recipes": "recipes.md",
    "README.md": "index.md", **{place: page for page, place in BORROWED.items()},
}
_CODE = re.compile(r"(^(?P<fence>`{3,}).*?^(?P=fence)[ \t]*$|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))",
                   re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Put pages that the navigation does not name under Development, so that a new page is never lost."""
    named = set(re.findall(r"[\w/]+\.md", str(config.nav)))
    for path in sorted(DOCS.glob("**/*.md")):
        if (name := path.relative_to(DOCS).as_posix()) not in named:
            config.nav[-1]["Development"].append(name)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated and borrowed pages, and every other file that a page links to."""
    for name, text in site_reference.pages().items():
        files.append(File.generated(config, name, content=text))
    for name, place in BORROWED.items():
        files.append(File.generated(config, name, content=(ROOT / place).read_text(encoding="utf-8")))
    linked: set[str] = set()
    for file in files.documentation_pages():
        _relinked(file.content_string, file.src_uri, linked)
    for place in sorted(linked):
        files.append(File.generated(config, _copy(place), abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return a page whose links lead to pages and files of the site."""
    return _relinked(markdown, page.file.src_uri, set())


def _relinked(markdown: str, page: str, linked: set[str]) -> str:
    """Return a page with the site's links; add the files of the repository that it links to."""
    folder = posixpath.dirname(BORROWED.get(page, f"docs/{page}"))

    def replaced(match: re.Match[str]) -> str:
        target, hash_sign, anchor = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:|/", target):
            return match[0]
        place = posixpath.normpath(posixpath.join(folder, unquote(target)))
        if place in PLACES:
            site = PLACES[place]
        elif place.startswith("docs/"):
            site = place.removeprefix("docs/")
        elif (ROOT / place).is_file():
            linked.add(place)
            site = _copy(place)
        else:
            return match[0]  # a dead link, which the strict build refuses
        return f"]({posixpath.relpath(site, posixpath.dirname(page) or '.')}{hash_sign}{anchor})"

    pieces, end = [], 0
    for code in _CODE.finditer(markdown):
        pieces += [_LINK.sub(replaced, markdown[end:code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, _LINK.sub(replaced, markdown[end:])])


def _copy(place: str) -> str:
    """Return where a file of the repository lies on the site: browsers show .txt, and download others."""
    return place_shown if (place_shown := f"source/{place}").endswith((".txt", ".svg", ".png")) else (
        f"{place_shown}.txt")
