"""A process that falls silent without closing its connections is given up; a slow one is not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import several_cases
from polytask.learn.heartbeat import Heartbeat
from several import Group


class Counters:
    """Counters, as a store of `torch.distributed` has them; seen by `lost` processes they stand still."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.lock, self.answers = threading.Lock(), threading.Event()
        self.lost = set[int]()
        self.answers.set()

    def add(self, key: str, amount: int, /) -> int:
        self.answers.wait(20)
        with self.lock:
            if int(key.split()[-1]) not in self.lost:
                self.counts[key] += amount
            return self.counts[key]


def beating(counters: Counters, rank: int, silent: list[tuple[int, int]]) -> Heartbeat:
    made = Heartbeat(counters, rank, 3, lambda peer: silent.append((rank, peer)), 0.02, 1.0)
    made.start()
    return made


def wait_for(silent: list[tuple[int, int]]) -> None:
    deadline = time.monotonic() + 20
    while not silent and time.monotonic() < deadline:
        time.sleep(0.02)


def test_the_silent_process_is_named_by_the_one_before_it_and_one_that_ended_is_not() -> None:
    counters, silent = Counters(), list[tuple[int, int]]()
    hearts = [beating(counters, rank, silent) for rank in range(3)]
    time.sleep(1.5)
    assert not silent
    hearts[1].stop()
    counters.lost.add(0)
    wait_for(silent)
    time.sleep(0.5)
    assert silent == [(2, 0)]
    for heart in hearts:
        heart.stop()


def test_a_store_that_does_not_answer_is_silence() -> None:
    counters, silent = Counters(), list[tuple[int, int]]()
    heart = beating(counters, 0, silent)
    counters.answers.clear()
    wait_for(silent)
    assert silent == [(0, 1)]
    counters.answers.set()
    heart.stop()


def test_whoever_waits_for_a_stopped_process_says_so_and_ends(tmp_path: Path) -> None:
    group, errors = Group(2, tmp_path), tmp_path / "errors"
    with pytest.raises(EOFError):
        group.run_of(0, several_cases.falling_silent, 1, str(errors))
    group.close()
    assert "process 1 of this training does not answer, so all processes stop" in errors.read_text()
