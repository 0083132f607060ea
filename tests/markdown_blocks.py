"""The code blocks of a page, and the changes that make them cheap enough for a test.

A page is written for people; a comment after a block says what a test types instead:

    <!-- test: polytask demo => polytask demo --set train.max_steps=2; localhost:8000 => localhost:PORT -->
    <!-- test: left out: pip install; source -->

Every change must apply to the blocks since the last comment, so none can go stale unnoticed.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PART = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$|^<!-- test: (?P<changes>.*?) -->$",
                   re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page in order, with the changes of its comments made."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    fresh: list[Block] = []
    for part in _PART.finditer(text):
        if part["changes"] is None:
            block = Block(part["language"], part["code"], text[:part.start()].count("\n") + 2)
            found.append(block)
            fresh.append(block)
        else:
            _change(fresh, " ".join(part["changes"].split()), page)
            fresh = []
    return found


def _change(fresh: list[Block], changes: str, page: Path) -> None:
    if changes.startswith("left out:"):
        starts = [start.strip() for start in changes.removeprefix("left out:").split(";")]
        for start in starts:
            assert any(line.startswith(start) for block in fresh for line in block.code.splitlines()), (
                f"{page}: no line starts with {start!r}")
        for block in fresh:
            block.code = "".join(line for line in block.code.splitlines(keepends=True)
                                 if not line.startswith(tuple(starts)))
        return
    for change in changes.split(";"):
        old, arrow, new = (word.strip() for word in change.partition("=>"))
        assert arrow and any(old in block.code for block in fresh), f"{page}: {old!r} is in no block above"
        for block in fresh:
            block.code = block.code.replace(old, new)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def typed(page_blocks: list[Block], folder: Path, tiny: Path, timeout: float = 280) -> str:
    """Run shell and Python blocks in one shell in a folder, as a person types them; return what it prints.

    In the changes of a page, TINY is the folder of a tiny encoder and PORT a port that is free.

    The first command that fails ends the shell and fails the test. Servers in the background are stopped.
    """
    source = Path(__file__).parents[1] / "src"
    tools = folder / ".tools"
    tools.mkdir()
    for name, words in {"python": "", "polytask": " -m polytask"}.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (tools / name).chmod(0o755)
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]
    for number, block in enumerate(page_blocks):
        if block.language == "python":
            (folder / f".block{number}.py").write_text(block.code, encoding="utf-8")
            script.append(f"python .block{number}.py")
        else:
            script.append(re.sub(r"\b(PORT|TINY)\b", r"$\1", block.code))
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(source),
                   "OMP_NUM_THREADS": "1", "PORT": str(free_port()), "TINY": str(tiny)}
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=folder, env=environment, text=True,
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
