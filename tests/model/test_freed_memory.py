"""Freed memory is kept for the next update, and given back when it is too much."""

from __future__ import annotations

import subprocess
import sys

import pytest

from polytask.model.memory import give_back_memory, glibc

SCRIPT = """
import torch
from polytask.model.memory import give_back_memory, keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

keep_freed_memory()
blocks = [torch.ones(1 << 20) for _ in range(64)]   # 4 MiB each
last = blocks[-1]                                     # nothing below the last can leave with the top
del blocks
full = resident()
assert give_back_memory(1 << 40) == 0                 # less than is allowed
assert full - resident() < 1 << 24
kept = give_back_memory(1 << 20)
assert kept > 60 * (1 << 22), kept
assert full - resident() > 60 * (1 << 22), (full, resident())
assert give_back_memory() == 0                        # far below a fifth of any machine
assert last.sum() == 1 << 20
"""


@pytest.mark.skipif(glibc("mallinfo2") is None, reason="glibc 2.33 or later")
def test_what_is_kept_beyond_the_limit_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_without_glibc_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polytask.model.memory.sys.platform", "darwin")
    assert give_back_memory(0) == 0
