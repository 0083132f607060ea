"""A stranger's folder runs none of its code, whichever command opens it and wherever it names any."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import polytask as pk
from polytask.commands.evaluate import evaluate_run
from polytask.commands.predict import predict_file
from polytask.commands.show import show_run
from polytask.core import user_modules
from polytask.core.errors import PolytaskError, UntrustedCode
from polytask.core.toml import read_toml

EVIL = "spare_evil"
Change = Callable[[Path], None]


def small_run(checkpoint: Path) -> dict[str, Any]:
    return {
        "seed": 3, "data": {"root": "sample", "max_length": 32}, "encoder": {"checkpoint": str(checkpoint)},
        "tasks": {"sst": {"train": "sst-train.csv", "dev": "sst-dev.csv", "text": "sentence",
                          "label": "sentiment", "limit": 16, "dev_limit": 16}},
        "train": {"epochs": 1, "batch_size": 8},
    }


@pytest.fixture(scope="module")
def trained(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    pk.train(pk.Run.from_table(small_run(tiny_checkpoint)), folder, quiet=True)
    return folder


@pytest.fixture
def hostile(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A copy of the run, and the file that appears when its code is run."""
    folder, mark = tmp_path / "run", tmp_path / "it-ran"
    shutil.copytree(trained, folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(user_modules, "_folders", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    for place in (folder, folder / "model", tmp_path / "here"):  # wherever one might look for it
        (place / f"{EVIL}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    yield folder, mark
    sys.modules.pop(EVIL, None)


def edit(file: Path, change: Callable[[Any], None]) -> None:
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))


def in_tasks(key: str, value: Any) -> Change:
    return lambda run: edit(run / "model" / "tasks.json",
                            lambda table: table["tasks"]["sst"].update({key: value}))


def pooling_of_a_head(run: Path) -> None:
    edit(run / "model" / "heads" / "sst" / "config.json",
         lambda table: table.update(pooling={"type": f"{EVIL}:Pool"}))


def an_adapter(run: Path) -> None:
    (run / "model" / "adapters" / "sst").mkdir(parents=True)
    (run / "model" / "adapters" / "sst" / "config.json").write_text(
        json.dumps({"type": {"type": f"{EVIL}:Adapter"}}))


MODELS: dict[str, Change] = {
    "head": in_tasks("head", {"type": f"{EVIL}:Head"}), "pairing": in_tasks("pairing", f"{EVIL}:Pair"),
    "pooling": in_tasks("pooling", {"type": f"{EVIL}:Pool"}), "pooling of a head": pooling_of_a_head,
    "adapter": an_adapter,
}


def in_config(**changes: Any) -> Change:
    def change(run: Path) -> None:
        table = read_toml(run / "config.toml")
        for key, value in changes.items():
            part, _, inner = key.partition("__")
            (table["tasks"]["sst"] if part == "task" else table[part])[inner] = value
        (run / "config.toml").write_text(tomli_w.dumps(table))
    return change


CONFIGS: dict[str, Change] = {
    "loss": in_config(task__loss=f"{EVIL}:Loss"),
    "metric": in_config(task__metrics=["accuracy", f"{EVIL}:f"]),
    "weighting": in_config(train__weighting={"type": f"{EVIL}:W"}),
    "schedule": in_config(train__schedule=f"{EVIL}:S"),
    "adapter": in_config(encoder__adapter=f"{EVIL}:A"),
}


def refused(caught: pytest.ExceptionInfo[UntrustedCode], mark: Path, file: str) -> None:
    said = str(caught.value)
    assert not mark.exists()
    assert said.count("\n") == 0 and f"{EVIL}:" in said and f"{EVIL}.py" in said, said
    assert file in said and "--trust" in said and "trust=True" in said, said


@pytest.mark.parametrize("change", MODELS.values(), ids=MODELS)
def test_a_model_folder_is_refused_wherever_it_names_code(
    change: Change, hostile: tuple[Path, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    run, mark = hostile
    change(run)
    file = "heads/sst/config.json" if change is pooling_of_a_head else (
        "adapters/sst/config.json" if change is an_adapter else "tasks.json")
    openings: list[Callable[[], Any]] = [
        lambda: pk.load(run), lambda: pk.load(run / "model"),
        lambda: evaluate_run(run),
        lambda: predict_file(run, ["sst"], None, None, "csv", True),
        # A training that starts from it:
        lambda: pk.train(pk.Run.from_table(small_run(run)), tmp_path / "next", quiet=True),
    ]
    for opened in openings:
        with pytest.raises(UntrustedCode) as caught:
            opened()
        refused(caught, mark, file)
    assert not (tmp_path / "next").exists()
    with pytest.raises(PolytaskError):  # it is imported now, and has nothing of the kind
        pk.load(run, trust=True)
    assert mark.exists()


@pytest.mark.parametrize("change", CONFIGS.values(), ids=CONFIGS)
def test_a_run_folder_is_refused_wherever_its_config_names_code(
    change: Change, hostile: tuple[Path, Path]
) -> None:
    run, mark = hostile
    change(run)
    with pytest.raises(UntrustedCode) as caught:
        evaluate_run(run)
    refused(caught, mark, "config.toml")
    assert any("sst: sentence -> sentiment" in line for line in show_run(run))
    pk.report([run], plots=False)
    assert pk.load(run).predict("sst", ["A gem."])  # the model itself names none of it
    assert not mark.exists()


def test_every_module_that_would_be_imported_is_named(hostile: tuple[Path, Path]) -> None:
    run, mark = hostile
    in_tasks("head", {"type": f"{EVIL}:Head"})(run)
    in_tasks("loss", [{"type": "spare_other.deep:Loss"}])(run)
    pooling_of_a_head(run)
    with pytest.raises(UntrustedCode, match=rf"{EVIL}:Head, spare_other.deep:Loss, {EVIL}:Pool in "
                       r"tasks.json, heads/sst/config.json; .* spare_other.deep \(not found"):
        pk.load(run)
    assert not mark.exists()


def test_a_foreign_loss_is_not_needed_for_answers(hostile: tuple[Path, Path]) -> None:
    run, mark = hostile
    before = pk.load(run).predict("sst", ["A gem."])
    in_tasks("loss", [{"type": f"{EVIL}:Loss", "gamma": 2.0}])(run)
    assert pk.load(run).predict("sst", ["A gem."]) == before
    assert not mark.exists()


def test_a_metric_that_a_model_names_is_imported_by_nobody(hostile: tuple[Path, Path]) -> None:
    run, mark = hostile
    in_tasks("metrics", ["accuracy", f"{EVIL}:f"])(run)
    with pytest.raises(PolytaskError, match=f'"{EVIL}:f" is not a metric'):
        evaluate_run(run)
    assert pk.load(run).predict("sst", ["A gem."])
    assert not mark.exists()


@pytest.mark.usefixtures("forked_commands")
def test_a_strangers_study_or_sweep_is_gone_on_with_by_ones_own_files_alone(
    hostile: tuple[Path, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """What lies in a study's folder (configs, runs with their models) is never a reason to import."""
    run, mark = hostile
    (tmp_path / "here" / "base.toml").write_text(tomli_w.dumps(small_run(tiny_checkpoint)))
    (tmp_path / "here" / "study.toml").write_text(
        'base = "base.toml"\nseeds = 1\n[set]\n"train.max_steps" = 1\n[[rows]]\nname = "one"\n')
    found = pk.compare("study.toml", tmp_path / "study", quiet=True)
    assert not found.comparison.failed
    for folder in (tmp_path / "study" / "runs").glob("*/*"):
        for change in (*MODELS.values(), *CONFIGS.values()):
            change(folder)
        (folder / "results.json").rename(folder.parent / "kept.json")
        (folder / f"{EVIL}.py").write_text((run / f"{EVIL}.py").read_text())
    for config in (tmp_path / "study" / "configs").glob("*.toml"):
        table = read_toml(config)
        table["tasks"]["sst"]["loss"] = f"{EVIL}:Loss"
        config.write_text(tomli_w.dumps(table))
    again = pk.compare("study.toml", tmp_path / "study", quiet=True)
    assert again.comparison.failed  # a run of another config: refused by what its folder says
    assert not mark.exists()
    pk.report([tmp_path / "study"], plots=False)
    assert not mark.exists()


def test_components_that_the_user_defined_need_no_trust(hostile: tuple[Path, Path]) -> None:
    run, mark = hostile

    @pk.loss
    class Mine:
        """A loss of this process."""

        input_field = "logits"

        def outputs(self, labels: Any) -> int:
            return labels.num_classes

        def __call__(self, output: Any, target: Any) -> Any: ...

    try:
        in_config(task__loss=Mine.reference)(run)
        assert "accuracy" in evaluate_run(run).scores["sst"]
    finally:
        pk.loss.members.pop(Mine.reference)
    assert not mark.exists()


def test_the_command_line_allows_it_with_trust(
    hostile: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from polytask.cli import main

    run, mark = hostile
    in_tasks("head", {"type": f"{EVIL}:Head"})(run)
    (Path.cwd() / "rows.txt").write_text("A gem.\n")
    (Path.cwd() / "next.toml").write_text(tomli_w.dumps(small_run(run)))
    for words in (["predict", str(run), "rows.txt", "--task", "sst"], ["evaluate", str(run)],
                  ["check", "next.toml"], ["train", "next.toml", "--out", "next", "-q"]):
        monkeypatch.setattr(sys, "argv", ["polytask", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code == 2 and said.count("\n") == 1 and "allow it with --trust" in said
        assert not mark.exists()
    monkeypatch.setattr(sys, "argv", ["polytask", "evaluate", str(run), "--trust"])
    with pytest.raises(SystemExit):
        main()
    assert mark.exists()
    assert "has no head 'Head'" in capsys.readouterr().err


def test_push_and_export_run_no_code_of_a_folder(hostile: tuple[Path, Path], tmp_path: Path) -> None:
    run, mark = hostile
    in_tasks("head", {"type": f"{EVIL}:Head"})(run)
    openings: list[Callable[[], Any]] = [lambda: pk.push(run, "user/name", dry_run=True),
                                         lambda: pk.export(run, out=tmp_path / "out")]
    for opened in openings:
        with pytest.raises(UntrustedCode) as caught:
            opened()
        refused(caught, mark, "tasks.json")
    with pytest.raises(PolytaskError):
        pk.push(run, "user/name", dry_run=True, trust=True)
    assert mark.exists()


def test_a_linked_file_of_a_strangers_model_is_neither_published_nor_copied(
    hostile: tuple[Path, Path], tmp_path: Path
) -> None:
    run, _ = hostile
    secret = tmp_path / "secret.json"
    secret.write_text('{"password": "qqzzsecret1"}')
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (run / "model" / name).unlink(missing_ok=True)
        (run / "model" / name).symlink_to(secret)
    with pytest.raises(PolytaskError, match=r"is a link to .*/secret\.json, outside the folder"):
        pk.push(run, "user/name", dry_run=True)
    pk.train(pk.Run.from_table(small_run(run)), tmp_path / "next", quiet=True)
    assert [path for path in (tmp_path / "next").rglob("*")
            if path.is_file() and b"qqzzsecret1" in path.read_bytes()] == []


def test_a_strangers_config_does_not_say_where_the_cache_is(hostile: tuple[Path, Path],
                                                            tmp_path: Path) -> None:
    run, _ = hostile
    in_config(data__cache=str(tmp_path / "elsewhere"))(run)
    assert "accuracy" in evaluate_run(run).scores["sst"]
    assert not (tmp_path / "elsewhere").exists()


def test_links_in_a_strangers_study_are_not_written_through(
    hostile: tuple[Path, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    here, outside = tmp_path / "here", tmp_path / "outside"
    outside.mkdir()
    (here / "base.toml").write_text(tomli_w.dumps(small_run(tiny_checkpoint)))
    (here / "study.toml").write_text('base = "base.toml"\nseeds = 1\n[set]\n"train.max_steps" = 1\n'
                                     '[[rows]]\nname = "one"\n')
    for part in ("configs", "runs", "plots"):
        study = tmp_path / f"study-{part}"
        study.mkdir()
        (study / "study.json").write_text('{"title": "study", "parts": {}}')
        (study / part).symlink_to(outside)
        with pytest.raises(PolytaskError, match=f"{part}: is a link to"):
            pk.compare("study.toml", study, quiet=True)
    assert [*outside.iterdir()] == []
    run = tmp_path / "run"
    (run / "plots").symlink_to(outside)
    with pytest.raises(PolytaskError, match="plots: is a link to"):
        pk.report([run])
    assert [*outside.iterdir()] == []
