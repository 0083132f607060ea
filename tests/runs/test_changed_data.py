"""A training that Ctrl-C or a kill ended does not go on with other files, and does with the same ones."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from warm_commands import warm_commands
from warm_processes import Zygote, warm

CONFIG = """\
[data]
root = "."
max_length = 16
[encoder]
checkpoint = "{checkpoint}"
[tasks.a]
train = "train.csv"
dev = "dev.csv"
text = "text"
label = "label"
[train]
epochs = 2000
save_every = 2
batch_size = 4
"""
SAYS = "train.csv: has changed since this run began; give another --out"


@pytest.fixture(scope="module")
def tools(zygote: Zygote) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, warm(zygote), warm_commands(Path(folder)) as programs:
        yield programs


def lines(count: int, first: int = 0) -> str:
    return "text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(first, first + count))


def process_in(folder: Path) -> int:
    """Return the process of the command that runs in a folder: the program that waits for it is another."""
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "cwd").resolve() == folder and b"warm_commands" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    raise AssertionError("no training runs")


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds the training by its folder in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_a_training_that_was_ended_refuses_files_that_changed(
    number: signal.Signals, tools: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path.resolve()
    (folder / "train.csv").write_text(lines(40))
    (folder / "dev.csv").write_text(lines(8, 50))
    (folder / "c.toml").write_text(CONFIG.format(checkpoint=tiny_checkpoint))

    def start(*more: str) -> subprocess.Popen[str]:
        command = [tools / "polytask", "train", "c.toml", "--out", "r", "-q", *more]
        return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                text=True)

    training = start()
    deadline = time.monotonic() + 200
    while not (folder / "r" / "checkpoints" / "last" / "state.json").exists():
        assert training.poll() is None and time.monotonic() < deadline, training.communicate()
        time.sleep(0.02)
    # Ctrl-C reaches the program, which hands it on; a kill has to hit the training itself.
    subprocess.run(["kill", f"-{number.value}", str(
        training.pid if number is signal.SIGINT else process_in(folder))], check=True)
    _, told = training.communicate()
    assert training.returncode == (130 if number is signal.SIGINT else 247), told
    assert ("resume it with" in told) is (number is signal.SIGINT)

    (folder / "train.csv").write_text(lines(41))
    before = (folder / "r" / "events.jsonl").read_bytes()
    refused = start("--resume")
    said = refused.communicate()[1]
    assert refused.returncode == 2 and SAYS in said and "Traceback" not in said
    assert (folder / "r" / "events.jsonl").read_bytes() == before

    (folder / "train.csv").write_text(lines(40))
    resumed = start("--resume")
    while (folder / "r" / "events.jsonl").read_bytes().count(b"\n") <= before.count(b"\n") + 4:
        assert resumed.poll() is None and time.monotonic() < deadline, resumed.communicate()
        time.sleep(0.02)
    resumed.send_signal(signal.SIGINT)
    resumed.communicate()
    assert resumed.returncode == 130
