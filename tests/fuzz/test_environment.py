"""Full disks, folders that cannot be written, no home, other clocks, moved folders, neighbours."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz_child import REFUSED, RIGHT, in_child, silence
from fuzz_world import World
from kill_points import KILLED, Kills, Scenario, differences, is_write, leftovers, snapshot, start
from kill_scenarios import scenarios

from polytask.commands.evaluate import evaluate_run
from polytask.commands.predict import predict_file
from polytask.commands.report import report
from polytask.commands.show import show_run
from polytask.commands.train import train
from polytask.config import Run


@pytest.fixture(scope="module")
def kills(world: World, tmp_path_factory: pytest.TempPathFactory) -> Kills:
    """The training scenario, run once undisturbed; each test begins with a fresh folder."""
    return Kills(scenarios(world)["train"], tmp_path_factory.mktemp("kills") / "place")


def refuse_writes(number: int, code: int, under: Path | None = None) -> None:
    """Let this process write nothing any more from its n-th writing operation on."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if not is_write(event, arguments) or event in ("os.remove", "os.rmdir", "shutil.rmtree"):
            return
        if under is not None and not str(arguments[0]).startswith(str(under)):
            return
        seen += 1
        if seen >= number:
            raise OSError(code, os.strerror(code))

    sys.addaudithook(hook)


@pytest.mark.parametrize("share", [0.0, 0.15, 0.4, 0.6, 0.8])
def test_a_disk_that_fills_up_is_a_sentence_and_loses_nothing(share: float, kills: Kills) -> None:
    def full() -> None:
        refuse_writes(1 + int(share * kills.figures.operations), errno.ENOSPC)
        kills.scenario.action(kills.place)

    kills.fresh()
    outcome = in_child(full)
    assert outcome.fine, outcome.detail
    assert outcome.kind == RIGHT or "the disk is full" in outcome.detail, outcome.detail
    assert start(kills.scenario, kills.place) == 0
    assert differences(kills.whole, snapshot(kills.place)) == []
    assert leftovers(kills.place) == []


def test_a_run_that_cannot_be_written_can_be_read(world: World, tmp_path: Path) -> None:
    uses: dict[str, Callable[[], Any]] = {
        "show": lambda: [*show_run(world.run)], "evaluate": lambda: evaluate_run(world.run),
        "predict": lambda: predict_file(str(world.run), ["moods"], world.folder / "moods.csv",
                                        tmp_path / "moods.csv", "csv", True),
        "report elsewhere": lambda: report([world.run], tmp_path / "page.html", plots=False)}

    def use(action: Callable[[], Any]) -> None:
        refuse_writes(1, errno.EROFS, world.run)
        action()

    for name, action in uses.items():
        outcome = in_child(lambda action=action: use(action))  # type: ignore[misc]
        assert outcome.kind == RIGHT, (name, outcome.detail)
    outcome = in_child(lambda: use(lambda: report([world.run], plots=False)))
    assert outcome.kind == REFUSED and "the disk is read-only" in outcome.detail, outcome.detail


def test_without_a_home_a_cache_can_be_named(world: World, tmp_path: Path) -> None:
    def homeless(cache: str | None) -> None:
        def nobody(number: int) -> Any:
            raise KeyError(number)

        for name in ("HOME", "XDG_CACHE_HOME", "POLYTASK_CACHE"):
            os.environ.pop(name, None)
        pwd.getpwuid = nobody
        table = world.table()
        table["data"].pop("cache")
        if cache:
            table["data"]["cache"] = cache
        train(Run.from_table(table), tmp_path / "run", quiet=True)

    outcome = in_child(lambda: homeless(None))
    assert outcome.kind == REFUSED and "home folder that cannot be found" in outcome.detail, outcome.detail
    assert not (tmp_path / "run").exists()
    assert in_child(lambda: homeless(str(tmp_path / "cache"))).kind == RIGHT


def test_a_clock_that_was_set_back_changes_nothing(kills: Kills) -> None:
    def earlier(folder: Path) -> None:
        plain = time.time
        time.time = lambda: plain() - 3 * 365 * 24 * 3600.0
        kills.scenario.action(folder)

    kills.fresh()
    assert start(kills.scenario, kills.place, last=kills.figures.operations // 2) == KILLED
    assert start(Scenario("earlier", earlier), kills.place) == 0
    assert differences(kills.whole, snapshot(kills.place)) == []


@pytest.mark.parametrize("way", ["moved", "linked"])
def test_a_run_is_resumed_where_it_was_moved_to_and_through_a_link(way: str, kills: Kills) -> None:
    kills.fresh()
    assert start(kills.scenario, kills.place, last=kills.figures.operations // 2) == KILLED
    other = kills.place.with_name(f"other, {way}")
    if way == "moved":
        other.mkdir()
        (kills.place / "run").rename(other / "run")
    else:
        other.symlink_to(kills.place)
    assert start(kills.scenario, other) == 0
    assert differences(kills.whole, snapshot(other)) == []


def test_two_predictions_to_one_file_both_end_and_one_stands(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("id,text\n" + "".join(f"{n},a dog sees rain\n" for n in range(50)))

    def predict(file: Path, out: Path) -> None:
        predict_file(str(world.run), ["moods"], file, out, "csv", True)

    files = (world.folder / "moods.csv", other)
    for number, file in enumerate(files):
        assert in_child(lambda: predict(file, tmp_path / f"{number}.csv")).kind == RIGHT  # noqa: B023
    answers = {(tmp_path / f"{number}.csv").read_bytes() for number in range(2)}
    for _ in range(3):
        children = [_forked(lambda: predict(file, tmp_path / "both.csv")) for file in files]  # noqa: B023
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
        assert (tmp_path / "both.csv").read_bytes() in answers
    assert leftovers(tmp_path) == []


def _forked(action: Callable[[], Any]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            silence()
            action()
            status = 0
        except BaseException:
            traceback.print_exc()  # into pytest's own capture
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


@pytest.mark.parametrize("into", ["elsewhere", "the run"])
def test_readers_beside_a_training_disturb_nothing(into: str, world: World, tmp_path: Path) -> None:
    def training(folder: Path) -> None:
        table = world.table(max_steps=12, epochs=12, save_every=1, evaluate_every=1)
        train(Run.from_table(table), folder / "run", resume=True, quiet=True)

    assert start(Scenario("alone", training), tmp_path / "alone") == 0
    run = tmp_path / "beside" / "run"
    page, answers = (None, run / "m.csv") if into == "the run" else (tmp_path / "page.html",
                                                                     tmp_path / "m.csv")
    child = _forked(lambda: training(tmp_path / "beside"))
    readers: list[Callable[[], Any]] = [
        lambda: [*show_run(run)], lambda: report([run], page, plots=page is None),
        lambda: evaluate_run(run),
        lambda: predict_file(str(run), ["moods"], world.folder / "moods.csv", answers, "csv", True)]
    ends, status = [], 0
    done = 0
    while not done:
        for reader in readers:
            ends.append(in_child(reader))
            assert ends[-1].fine, ends[-1].detail
        done, status = os.waitpid(child, os.WNOHANG)
    assert os.waitstatus_to_exitcode(status) == 0
    assert any(each.kind == RIGHT for each in ends)
    if page is None:
        shutil.rmtree(run / "plots")
        answers.unlink()
    assert differences(snapshot(tmp_path / "alone"), snapshot(tmp_path / "beside")) == []
    assert leftovers(tmp_path / "beside") == []
    shutil.rmtree(tmp_path / "beside")
