"""The true command: torchrun with two processes, one of which is killed, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from polytask.commands.train import train
from polytask.config import Run
from polytask.core.events import read_events
from polytask.core.run_folder import RunFolder
from polytask.learn.checkpoint import load_checkpoint


def launched(config: Path, out: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "--max-restarts", "1", "-m", "polytask", "train", str(config), "--out", str(out), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment)


def process_of_rank(rank: int, out: Path) -> int | None:
    """Return the number of the process that trains in a folder with this rank."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(out).encode() in words and f"RANK={rank}".encode() in variables:
            return int(place.name)
    return None


@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("POLYTASK_PROCESSES") or not Path("/proc").is_dir(),
                    reason="POLYTASK_PROCESSES is not set, or there is no /proc to look for processes in")
def test_a_killed_process_is_started_again_and_the_result_is_that_of_one(
        small_table: dict[str, Any], tmp_path: Path) -> None:
    small_table["encoder"]["dropout"] = 0.0
    small_table["data"]["baselines"] = False
    for task in small_table["tasks"].values():
        task |= {"limit": 16, "dev_limit": 8}
    for name in ("sst", "quora", "sts"):
        small_table["tasks"][name]["head"] = {"type": "linear", "dropout": 0.0}
    small_table["train"] |= {"epochs": 99, "max_steps": 16, "save_every": 2, "evaluate_every": 16,
                             "surgery": "pcgrad", "optimizer": {"lr": 1e-3, "options": {"eps": 1e-4}}}
    config, out = tmp_path / "small.toml", tmp_path / "two"
    config.write_text(tomli_w.dumps(small_table), encoding="utf-8")
    process = launched(config, out)
    deadline = time.monotonic() + 300
    folder = RunFolder(out)
    while not folder.checkpoint.is_dir() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    victim = process_of_rank(1, out)
    assert victim is not None, process.communicate()[1]
    os.kill(victim, signal.SIGKILL)
    printed, complaints = process.communicate(timeout=500)
    assert process.returncode == 0, complaints
    assert printed.count("run: ") == 1, "one process prints the scores"
    assert "another process of this training has ended" in complaints
    steps = [event["step"] for event in read_events(folder.events) if event["event"] == "step"]
    assert steps == list(range(1, 17))
    train(Run.from_table(small_table), tmp_path / "one", quiet=True)
    one = load_checkpoint(RunFolder(tmp_path / "one").checkpoint)["model"]
    two = load_checkpoint(folder.checkpoint)["model"]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=3e-5, msg=name)
    own, other = (load_file(path / "model.safetensors")
                  for path in (folder.model, RunFolder(tmp_path / "one").model))
    assert own.keys() == other.keys()
