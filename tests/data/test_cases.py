"""One folder a case: small files, a config's tasks, and what each command says of them and exits with.

A step of `case.toml` runs a command in a copy of the folder (`run`, with `exit`, what its output `says` and
`never` says; `stdin` names a file), looks into a file (`file`), finds none (`absent`), or appends to one.
"""

from __future__ import annotations

import io
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from polytask import cli

CASES = sorted(path.parent for path in Path(__file__).with_name("cases").glob("*/case.toml"))
CONFIG = """seed = 3
[data]
root = "."
max_length = 32
[encoder]
checkpoint = "{checkpoint}"
"""


def config(text: str, checkpoint: Path) -> str:
    """Return a config with the tasks of a case and a tiny encoder."""
    tasks = text.partition("[[step]]")[0]
    train = "" if "[train]" in tasks else "[train]\n"
    length = "" if "max_steps" in tasks else "epochs = 1\n"
    return f"{CONFIG.format(checkpoint=checkpoint)}{tasks}{train}batch_size = 8\n{length}"


def exit_of(command: list[str], stdin: Path | None, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in this process; return what it exits with."""
    monkeypatch.setattr(sys, "argv", ["polytask", *command])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.read_bytes() if stdin else b"")))
    if terminal:
        monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def check(text: str, step: dict[str, Any]) -> None:
    for words in step.get("says", ()):
        assert words in text, f"{words!r} is missing in:\n{text}"
    for words in step.get("never", ()):
        assert words not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_a_case(folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "case.toml").read_text(encoding="utf-8")
    place = tmp_path / "case"
    shutil.copytree(folder, place)
    (place / "c.toml").write_text(config(text, tiny_checkpoint), encoding="utf-8")
    monkeypatch.chdir(place)
    for step in tomllib.loads(text)["step"]:
        if "append" in step:
            with (place / step["append"]).open("a", encoding="utf-8") as file:
                file.write(step["text"])
        elif "absent" in step:
            assert not (place / step["absent"]).exists()
        elif "file" in step:
            check((place / step["file"]).read_text(encoding="utf-8"), step)
        else:
            stdin = place / step["stdin"] if "stdin" in step else None
            code = exit_of(step["run"], stdin, step.get("terminal", False), monkeypatch)
            output = "".join(capsys.readouterr())
            assert code == step["exit"], output
            check(output, step)
