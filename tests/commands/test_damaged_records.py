"""`show` and `log` name the file that is damaged, and the commands that are printed can be typed."""

from __future__ import annotations

import shlex
from datetime import date
from pathlib import Path

import pytest

from polytask.commands import train
from polytask.commands.show import show_run
from polytask.core.errors import ConfigError, PolytaskError, RunError
from polytask.core.settings import from_table, settings
from polytask.trackers.contract import Point, Tracker
from polytask.trackers.replay import replay

CONFIG = """seed = 1
[encoder]
checkpoint = "tiny"
[tasks.sst]
text = ["sentence"]
label = "stars"
"""


class Kept(Tracker):
    """Keeps nothing."""

    place = "nowhere"

    def sent(self) -> dict[str, int]:
        return {}

    def send(self, points: list[Point]) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    return folder


@pytest.mark.parametrize("line", ['{"event":"step","step":1,"losses":5}', '{"event":"step","losses":{}}',
                                  '{"event":"step","step":1,"seconds":"x"}'])
def test_a_damaged_event_is_one_sentence_of_log(line: str, run: Path) -> None:
    (run / "events.jsonl").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"events\.jsonl: is not as polytask wrote it"):
        replay(run / "events.jsonl", Kept(), False, lambda: False)


def test_show_names_the_file_that_is_damaged(run: Path) -> None:
    (run / "events.jsonl").write_text('{"step": 1}\n', encoding="utf-8")
    with pytest.raises(RunError, match=r"events\.jsonl: is not as polytask wrote it"):
        list(show_run(run))
    (run / "config.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(RunError, match=r"config\.toml: is not as polytask wrote it \(UnicodeDecodeError"):
        list(show_run(run, config=True))


def test_the_command_that_resumes_can_be_typed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(show_run(run))[-1] == (
        f"not finished; resume with: polytask train CONFIG --out '{run}' --resume")
    commands = []

    def caught(*words: object) -> None:
        commands.append(str(words[4]))
        raise PolytaskError

    monkeypatch.setattr(train, "_train", caught)
    monkeypatch.setattr(train.Run, "from_toml", lambda *words: None)
    with pytest.raises(PolytaskError):
        train.train_config(Path("my config.toml"), run, ["tasks.sst.positive=it's"], trust=True)
    assert shlex.split(commands[0]) == [
        "polytask", "train", "my config.toml", "--out", str(run), "--resume", "--set",
        "tasks.sst.positive=it's", "--trust"]


@settings
class Seeded:
    """A setting."""

    seed: int = 1
    """A number."""


def test_a_date_is_shown_as_it_is_written() -> None:
    with pytest.raises(ConfigError, match="seed found 2026-01-01, expected a whole number"):
        from_table(Seeded, {"seed": date(2026, 1, 1)}, "config")
