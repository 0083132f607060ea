"""A disk that is full: one sentence, nothing half-written, and the same command ends once there is room.

The disk is a file system in memory of so many bytes, which only root may mount.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuzz_child import REFUSED, RIGHT, in_child
from fuzz_world import World
from kill_points import Kills, differences, leftovers, snapshot, start
from kill_scenarios import scenarios

from polytask.commands.log import log
from polytask.commands.predict import predict_file
from polytask.commands.train import train
from polytask.config import Run

ROOM = 64 << 20
FULL = "could not be written, the disk is full"


class Disk:
    """A file system of its own, whose size changes while it is in use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes, rounded to whole pages."""
        self._size(shutil.disk_usage(self.path).used + max(4096, left // 4096 * 4096))
        if not left:  # a size of what is used would be one of none
            (self.path / ".filler").write_bytes(bytes(shutil.disk_usage(self.path).free))

    def empty(self) -> None:
        """Make room."""
        (self.path / ".filler").unlink(missing_ok=True)
        self._size(ROOM)

    def _size(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield Disk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(("name", "share"), [
    ("train", 0.02), ("train", 0.45), ("train", 0.8), ("train, two processes", 0.5), ("sweep", 0.02),
    ("report", 0.6), ("predict, shards", 0.4), ("export", 0.1), ("export", 0.4)])
def test_what_a_full_disk_stopped_ends_the_same_once_there_is_room(
        name: str, share: float, disk: Disk, world: World) -> None:
    kills = Kills(scenarios(world)[name], disk.path / "place")
    used = shutil.disk_usage(disk.path).used
    kills.fresh()
    before = snapshot(kills.place)
    disk.fill(int(share * (used - shutil.disk_usage(disk.path).used)))
    outcome = in_child(lambda: kills.scenario.action(kills.place), memory=None)
    assert outcome.kind == REFUSED and FULL in outcome.detail, outcome.detail
    assert ".aside" not in outcome.detail
    disk.empty()
    assert leftovers(disk.path) == []
    if name == "export":
        assert differences(before, snapshot(kills.place)) == []
    assert start(kills.scenario, kills.place, report=kills.report) == 0, kills.report.read_text()
    assert differences(kills.whole, snapshot(kills.place)) == []
    assert leftovers(disk.path) == []


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_predictions_that_find_no_room_leave_those_that_were_there(
        format: str, disk: Disk, world: World, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("id,text\n" + "".join(f"{n},a bee sees no old dog\n" for n in range(2_000)))
    out = disk.path / f"answers.{format}"
    out.write_text("of yesterday")
    disk.fill(8192)
    outcome = in_child(lambda: predict_file(str(world.run), ["moods"], rows, out, format, True))
    assert outcome.kind == REFUSED and f"{out}: {FULL}" in outcome.detail, outcome.detail
    assert [path.name for path in disk.path.iterdir()] == [out.name]
    assert out.read_text() == "of yesterday"


def test_without_room_for_the_cache_a_training_takes_another(disk: Disk, world: World, tmp_path: Path
                                                             ) -> None:
    def training() -> None:
        table = world.table()
        table["data"]["cache"] = str(disk.path / "cache")
        train(Run.from_table(table), tmp_path / "run", quiet=True)

    disk.fill()
    outcome = in_child(training)
    assert outcome.kind == RIGHT, outcome.detail
    assert leftovers(disk.path) == [".filler"]


@pytest.fixture
def full(disk: Disk) -> Path:
    disk.fill()
    return disk.path


def test_standard_input_that_finds_no_room_is_not_taken_for_output(disk: Disk, world: World) -> None:
    def piped() -> None:
        os.environ["TMPDIR"], tempfile.tempdir = str(disk.path), None
        sys.stdin = io.TextIOWrapper(io.BytesIO(b"text\n" + b"a bee\n" * 50_000))
        predict_file(str(world.run), ["moods"], None, None, "csv", True, input_format="csv")

    disk.fill(8192)  # `tempfile` takes no folder that has no room at all
    outcome = in_child(piped)
    assert outcome.kind == REFUSED and FULL in outcome.detail, outcome.detail
    assert [*disk.path.iterdir()] == []


def test_a_tracker_that_finds_no_room_says_so(full: Path, world: World) -> None:
    pytest.importorskip("tensorboard")
    outcome = in_child(lambda: log(world.run, "tensorboard", full / "events") and None, memory=None)
    assert outcome.kind == REFUSED and FULL in outcome.detail, outcome.detail


@pytest.mark.parametrize("command", [
    lambda world, full: ["train", world / "base.toml", "--out", full / "run"],
    lambda world, full: ["export", world / "run", "--to", "transformers", "--task", "moods", "--out",
                         full / "exported"]])
@pytest.mark.usefixtures("forked_commands")
def test_the_command_line_ends_with_one_sentence_and_status_2(
        command: Callable[[Path, Path], list[Path | str]], full: Path, world: World) -> None:
    asked = [sys.executable, "-m", "polytask", *map(str, command(world.folder, full))]
    ended = subprocess.run(asked, capture_output=True, text=True)
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 2 and FULL in last and last.startswith("polytask: "), ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path.name for path in full.iterdir() if path.name != "run"] == [".filler"]
