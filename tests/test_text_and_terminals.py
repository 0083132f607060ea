"""Every file that is read or written as text is UTF-8, and output never fails on a character."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "polytask"
MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_text_files_name_their_encoding(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        named = {keyword.arg for keyword in node.keywords}
        if name in ("read_text", "write_text"):
            assert "encoding" in named, f"{path}:{node.lineno}: {name} without an encoding"
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        if name == "open" and any(mode in ("r", "w", "a", "x") for mode in modes):
            assert "encoding" in named, f"{path}:{node.lineno}: open without an encoding"


def run(code: str, stdout: int, **environment: str) -> subprocess.CompletedProcess[bytes]:
    source = f"import sys\nfrom polytask import cli\ncli.app = lambda **_: {code}\ncli.main()"
    return subprocess.run([sys.executable, "-c", source], stdout=stdout, stderr=subprocess.PIPE,
                          check=False, env={**os.environ, "PYTHONUTF8": "0", **environment})


def test_output_is_utf_8_in_any_locale() -> None:
    done = run(r"print('sch\xf6n \U0001f600')", subprocess.PIPE, PYTHONIOENCODING="latin-1:strict")
    assert (done.returncode, done.stdout.decode()) == (0, "schön 😀\n")
    done = run(r"print('sch\xf6n')", subprocess.PIPE, LC_ALL="C", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, done.stdout.decode()) == (0, "schön\n")


def test_a_terminal_that_lacks_a_character_shows_it_escaped() -> None:
    controller, terminal = os.openpty()
    done = run(r"print('caf\xe9 \U0001f600')", terminal, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.read(controller, 100) == b"caf\\xe9 \\U0001f600\r\n"
    os.close(controller)
    os.close(terminal)


@pytest.mark.parametrize("code", ["print('x')", "[print('x' * 100) for _ in range(9999)]"])
def test_a_full_device_is_one_sentence(code: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(code, full.fileno())
    assert done.returncode == 2
    assert done.stderr == b"polytask: standard output: could not be written (No space left on device)\n"


def test_a_closed_pipe_ends_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run("[print('x' * 100) for _ in range(9999)]", writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
