"""What `warm` forks is a process of its own, as it would be if started anew."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.usefixtures("forked_commands"),
              pytest.mark.skipif(not sys.platform.startswith("linux"), reason="adopts and shows processes")]

PRINTS = """
import os, sys
print(os.getppid(), os.getpid(), os.getcwd(), os.environ.get("ASKED"), os.getsid(0),
      *sys.argv[1:], sys.stdin.read())
print("aside", file=sys.stderr)
print("torch" in sys.modules)
sys.stdout.reconfigure(errors="backslashreplace")
raise SystemExit(3)
"""


def test_arguments_streams_folder_environment_session_and_status(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", PRINTS, "a", "ü"], cwd=tmp_path, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "ASKED": "yes"}, start_new_session=True)
    out, aside = process.communicate("given")
    first, imported = out.splitlines()
    assert first == f"{os.getpid()} {process.pid} {tmp_path} yes {process.pid} a ü given"
    assert (imported, aside, process.returncode) == ("True", "aside\n", 3)


def test_signals_reach_it_and_its_command_line_can_be_seen() -> None:
    words = [sys.executable, "-c", "import time\nprint(1, flush=True)\ntime.sleep(60)"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        assert shown == [os.fsencode(word) for word in words]
        process.kill()
        assert process.wait(20) == -signal.SIGKILL


def test_it_starts_its_own_and_an_error_is_a_traceback() -> None:
    code = ("import subprocess, sys, os\n"
            "subprocess.run([sys.executable, '-c', 'import os; print(os.getppid())'])\n"
            "print(os.getpid())\nraise ValueError('wrong')")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    parent, own = ended.stdout.split()
    assert parent == own
    assert ended.returncode == 1 and ended.stderr.endswith("ValueError: wrong\n")


@pytest.mark.parametrize("more", [
    {"env": {"PATH": "", "PYTHONHASHSEED": "1"}},
    {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))},
], ids=["hash seed", "preexec_fn"])
def test_what_a_fork_cannot_show_is_started_anew(more: dict[str, object]) -> None:
    code = "import sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          **more).stdout == "False\n"  # type: ignore[call-overload]
