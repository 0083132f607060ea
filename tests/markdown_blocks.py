"""The code blocks of a page, and the changes that make them cheap enough for a test.

A page is written for people; a comment after a block says what a test types instead:

    <!-- test: polytask demo => polytask demo --set train.max_steps=2; localhost:8000 => localhost:PORT -->
    <!-- test: left out: pip install; source -->

Every change must apply to the blocks since the last comment, so none can go stale unnoticed. A block whose
first line is a comment with a file's name is that file:

    ```toml
    # study.toml
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from warm_commands import warm_commands

# What a comment in the first line of a block calls it.
_FILE = re.compile(r"# ([\w-]+\.(?:toml|py|csv))$")
# Runs a Python block as a notebook does: `await` may stand outside of a function.
_NOTEBOOK = """\
import ast, asyncio, inspect, sys
place = sys.argv[1]
with open(place, encoding="utf-8") as file:
    code = compile(file.read(), place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {"__name__": "__main__"}
if inspect.iscoroutine(waiting := eval(code, names)):
    asyncio.run(waiting)
"""
_PART = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$|^<!-- test: (?P<changes>.*?) -->$",
                   re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    language: str
    code: str
    line: int


def blocks(page: Path, changed: bool = True) -> list[Block]:
    """Return the code blocks of a page in order, with its changes made or as they are read."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    fresh: list[Block] = []
    for part in _PART.finditer(text):
        if part["changes"] is None:
            block = Block(part["language"], part["code"], text[:part.start()].count("\n") + 2)
            found.append(block)
            fresh.append(block)
        elif changed:
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


def typed(page_blocks: list[Block], folder: Path, tiny: Path, timeout: float = 560) -> str:
    """Run shell and Python blocks in one shell in a folder, as a person types them; return what it prints.

    Blocks that are files are written before the first command. Each command is a process of its own, forked
    from one that has imported polytask.

    In the changes of a page, TINY is the folder of a tiny encoder, PORT a free port, ROOT the repository.

    The first command that fails ends the shell and fails the test. Servers in the background are stopped.
    """
    root = Path(__file__).parents[1]
    places = {"TINY": str(tiny), "PORT": str(free_port()), "ROOT": str(root)}
    (folder / ".notebook.py").write_text(_NOTEBOOK, encoding="utf-8")
    script = ["set -Eeuo pipefail", "trap 'echo \"failed: $BASH_COMMAND\"' ERR",
              "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]
    for number, block in enumerate(page_blocks):
        code = re.sub(r"\b(TINY|PORT|ROOT)\b", lambda name: places[name[0]], block.code)
        if (name := _FILE.match(code.partition("\n")[0])) and block.language != "sh":
            (folder / name[1]).write_text(code, encoding="utf-8")
            continue
        if block.language not in ("sh", "python"):
            continue
        if block.language == "python":
            (folder / f".block{number}.py").write_text(code, encoding="utf-8")
            code = f"python .notebook.py .block{number}.py"
        script.append(code)
    with tempfile.TemporaryDirectory() as place, warm_commands(Path(place)) as tools:
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
                       "PYTHONPATH": str(root / "src")}
        done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=folder, env=environment, check=False,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
