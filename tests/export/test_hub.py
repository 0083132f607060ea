"""A model goes to the hub and comes back, by the real client over HTTP to a stand-in for the hub."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import Hub, Repository, _Requests, commit_of

import polytask as pk
from polytask.core.errors import CheckpointError, ConfigError, PolytaskError, RunError
from polytask.export.hub_card import Provenance, hub_card
from polytask.model.hub import parsed
from polytask.tasks.model_folder import load_model
from warm_processes import Zygote, warm

pytestmark = pytest.mark.usefixtures("forked_commands")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    server = Hub()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    table: dict[str, Any] = {
        "seed": 3, "data": {"root": "sample", "max_length": 24},
        "encoder": {"checkpoint": str(tiny_checkpoint)},
        "tasks": {"sst": {"train": "sst-train.csv", "dev": "sst-dev.csv", "text": "sentence",
                          "label": "sentiment", "limit": 24, "dev_limit": 24}},
        "train": {"epochs": 1, "batch_size": 8}}
    folder = tmp_path_factory.mktemp("pushed") / "run"
    pk.train(pk.Run.from_table(table), folder, quiet=True)
    (folder / "model" / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


def environment(hub: Hub, home: Path, token: str = "secret") -> dict[str, str]:
    """Return the environment of a user of the stand-in."""
    return {**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home),
            "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def polytask(hub: Hub, home: Path, *words: str, token: str = "secret") -> subprocess.CompletedProcess[str]:
    """Run the command line as a user of the stand-in."""
    return subprocess.run([sys.executable, "-m", "polytask", *words], capture_output=True, text=True,
                          check=False, env=environment(hub, home, token))


@pytest.fixture(scope="module")
def pushed(hub: Hub, run: Path, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    with warm(zygote):
        done = polytask(hub, tmp_path_factory.mktemp("home"), "push", str(run), "me/reviews")
    assert done.returncode == 0, done.stderr
    assert f"pushed: {hub.address}/me/reviews/commit/" in done.stdout
    return hub.repositories["me/reviews"]


def test_a_push_is_private_and_holds_the_model_and_nothing_else(pushed: Repository) -> None:
    assert pushed.private
    files = pushed.branches["main"]
    assert {"README.md", "config.json", "model.safetensors", "tasks.json", "tokenizer.json", "modules.json",
            "heads/sst/model.safetensors", "heads/sst/config.json"} <= set(files)
    assert not [name for name in files if name.endswith((".bin", ".pkl"))]


def test_the_card_has_what_was_measured_and_no_path_of_this_machine(pushed: Repository, run: Path,
                                                                   tiny_checkpoint: Path) -> None:
    card = pushed.branches["main"]["README.md"].decode()
    data = yaml.safe_load(card.split("---")[1])
    (model,) = data["model-index"]
    metrics = {each["type"]: each["value"] for each in model["results"][0]["metrics"]}
    evaluation = pk.evaluate(run).scores["sst"]
    assert metrics["accuracy"] == pytest.approx(evaluation["accuracy"], abs=1e-6)
    assert (data["library_name"], data["pipeline_tag"]) == ("polytask", "text-classification")
    assert model["name"] == "reviews" and data["widget"] and "base_model" not in data
    assert str(tiny_checkpoint.parent) not in card and 'pk.load("hf://me/reviews")' in card
    assert "## Training data\n\n- sst: `sst-train.csv`" in card and "## Caveats" in card


def test_a_card_says_how_sure_its_scores_are_and_opens_every_door(run: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(run, study / "runs" / "joint" / "3")
    (study / "results.json").write_text(
        json.dumps({"single": {"scores": {"sst.accuracy": {"mean": 0.125}}}}))
    text = "\n".join(pk.push(study / "runs" / "joint" / "3", "me/reviews", dry_run=True, language=["en"],
                             license="mit", datasets=["stanfordnlp/sst2"]))
    data = yaml.safe_load(text.split("---\n")[1])
    assert (data["language"], data["license"], data["datasets"]) == (["en"], "mit", ["stanfordnlp/sst2"])
    accuracy = pk.evaluate(run).scores["sst"]["accuracy"]
    name = data["model-index"][0]["results"][0]["metrics"][0]["name"]
    low, high = map(float, re.fullmatch(
        r"accuracy \(24 rows, 95 % interval ([\d.]+) to ([\d.]+)\)", name).groups())
    assert low < accuracy < high and high - low > 0.1
    assert f"| sst | dev | 24 | accuracy | {accuracy:.4f} | {low:.4f} to {high:.4f} | 0.1250 |" in text
    for door in ("polytask predict hf://me/reviews --task sst", "polytask serve hf://me/reviews", "curl -s",
                 'AutoModel.from_pretrained("me/reviews")', 'SentenceTransformer("me/reviews")'):
        assert door in text, door
    alone = "\n".join(pk.push(run, "me/reviews", dry_run=True))
    assert "trained alone" not in alone and "language" not in yaml.safe_load(alone.split("---\n")[1])


@pytest.mark.parametrize(("checkpoint", "base"), [
    ("minilm", "sentence-transformers/all-MiniLM-L6-v2"), ("hf://me/base@v1", "me/base"),
    ("google/bert_uncased", "google/bert_uncased"), ("/some/folder", None), (None, None)])
def test_a_base_model_is_a_name_of_the_hub_or_nothing(
    run: Path, checkpoint: str | None, base: str | None
) -> None:
    origin = Provenance(checkpoint, "0" * 40, {"sst": "hf://stanfordnlp/sst2:train"})
    card = hub_card("me/reviews", run / "model", load_model(run / "model").tasks, origin, [])
    data = yaml.safe_load(card.split("---\n")[1])
    assert data.get("base_model") == base and data["datasets"] == ["stanfordnlp/sst2"]
    assert (f"`{base}` at commit `{'0' * 40}`" in card) == (base is not None)


def test_what_was_pushed_answers_as_before_by_its_address(hub: Hub, pushed: Repository, run: Path,
                                                          tmp_path: Path) -> None:
    file, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    file.write_text("sentence\nA gem.\nDull.\n")
    pushed.branches["main"]["evil.pkl"] = b"a pickle"
    hub.fetched.clear()
    done = polytask(hub, tmp_path / "home", "predict", "hf://me/reviews@main", "--task", "sst", str(file),
                    "--out", str(out), "--quiet")
    assert done.returncode == 0, done.stderr
    want = pk.load(run).predict("sst", ["A gem.", "Dull."])
    found = [line.split(",")[2] for line in out.read_text().splitlines()[1:]]
    assert found == [each.label for each in want]
    assert "evil.pkl" not in hub.fetched and "model.safetensors" in hub.fetched


def test_a_training_continues_from_a_model_on_the_hub(hub: Hub, pushed: Repository, tmp_path: Path,
                                                    run: Path) -> None:
    config = (run / "config.toml").read_text().splitlines()
    lines = ['checkpoint = "hf://me/reviews"' if line.startswith("checkpoint = ") else line
             for line in config]
    (tmp_path / "again.toml").write_text("\n".join(lines))
    done = polytask(hub, tmp_path / "home", "check", str(tmp_path / "again.toml"), "--time-steps", "0",
                    "--quiet")
    assert done.returncode == 0, done.stderr
    assert "continues with sst" in done.stdout


def test_a_training_records_the_commit_it_started_from_and_resumes_from_it(
    hub: Hub, pushed: Repository, run: Path, tmp_path: Path
) -> None:
    out, home = tmp_path / "again", tmp_path / "home"
    words = ("train", str(run / "config.toml"), "--out", str(out), "--quiet",
             "--set", "encoder.checkpoint=hf://me/reviews", "--set", "train.epochs=1")
    done = polytask(hub, home, *words)
    assert done.returncode == 0, done.stderr
    commit = commit_of(pushed.branches["main"])
    assert tomllib.loads((out / "config.toml").read_text())["encoder"]["revision"] == commit
    # What the branch holds by now is another model; the run is still the one of its commit.
    pushed.branches["main"] = pushed.branches["main"] | {"vocab.txt": b"another commit"}
    assert commit_of(pushed.branches["main"]) != commit
    done = polytask(hub, home, *words, "--resume")
    assert done.returncode == 0 and "another config" not in done.stderr, done.stderr
    other = polytask(hub, home, *words, "--set", f"encoder.revision={'0' * 40}", "--resume")
    assert other.returncode == 2 and "encoder.revision was" in other.stderr


def test_a_model_on_the_hub_is_exported_and_its_graphs_are_all_that_an_engine_pulls(
    hub: Hub, pushed: Repository, run: Path, tmp_path: Path
) -> None:
    out, rows = tmp_path / "shipped", tmp_path / "rows.csv"
    rows.write_text("sentence\nA gem.\nDull.\n")
    words = ("export", "hf://me/reviews", "--quiet")
    done = polytask(hub, tmp_path / "home", *words)
    assert done.returncode == 2 and "--out: is missing; hf://me/reviews is a download" in done.stderr
    done = polytask(hub, tmp_path / "home", *words, "--out", str(out))
    assert done.returncode == 2 and "name a file with --check" in done.stderr
    done = polytask(hub, tmp_path / "home", *words, "--out", str(out), "--check", str(rows))
    assert done.returncode == 0, done.stderr
    done = polytask(hub, tmp_path / "home", "predict", "hf://me/reviews", "--task", "sst", "--engine",
                    "int8")
    assert done.returncode == 2 and "hf://me/reviews: has no onnx/model_qint8.onnx" in done.stderr
    pushed.branches["main"] |= {"onnx/model.onnx": (out / "onnx/model.onnx").read_bytes(),
                                "onnx/model_qint8.onnx": b"not asked for"}
    hub.fetched.clear()
    done = polytask(hub, tmp_path / "other", "predict", "hf://me/reviews", "--task", "sst", str(rows),
                    "--engine", "onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("2,A gem.,")
    assert set(hub.fetched) == {"onnx/model.onnx", "tokenizer.json", "tasks.json", "README.md"}


def test_a_model_on_the_hub_is_served_under_the_name_of_its_repository(
    hub: Hub, pushed: Repository, tmp_path: Path
) -> None:
    script = (f"from polytask.serve.server import named_folders\n"
              f"found = named_folders(['hf://me/reviews@main', {str(tmp_path)!r}], 'torch')\n"
              f"print(*found, sep=',')\nassert (found['reviews'] / 'tasks.json').is_file()\n"
              f"named_folders(['hf://me/reviews', 'hf://you/reviews'], 'torch')")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False,
                          env=environment(hub, tmp_path / "home"))
    assert done.stdout.strip() == f"reviews,{tmp_path.name}", done.stderr
    assert 'hf://you/reviews: another model is called "reviews" too' in done.stderr


def test_a_revision_is_a_branch_and_a_dry_run_uploads_nothing(hub: Hub, pushed: Repository, run: Path,
                                                              tmp_path: Path) -> None:
    done = polytask(hub, tmp_path, "push", str(run), "me/reviews", "--revision", "v2")
    assert done.returncode == 0 and 'pk.load("hf://me/reviews@v2")' in done.stdout, done.stderr
    assert "model.safetensors" in pushed.branches["v2"]
    done = polytask(hub, tmp_path, "push", str(run), "me/other", "--dry-run")
    assert done.returncode == 0 and "MB  heads/sst/model.safetensors" in done.stdout
    assert "pytorch_model.bin" not in done.stdout and "me/other" not in hub.repositories


@pytest.mark.parametrize(("files", "said"), [
    ({"config.json": b'{"model_type": "bert"}'},
     'it is a plain encoder (bert): train from it with encoder.checkpoint = "hf://me/foreign"'),
    ({"config.json": b'{"model_type": "bert"}', "modules.json": b"[]"}, "it is a sentence-transformers"),
    ({"config.json": b'{"architectures": ["BertForSequenceClassification"]}'}, "it is a single classifier"),
    ({"data.csv": b"a,b"}, "it has no config.json either")])
def test_a_repository_without_tasks_is_refused_with_what_it_is(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    hub.repositories["me/foreign"] = Repository(False, {"main": files})
    done = polytask(hub, tmp_path, "predict", "hf://me/foreign", "--task", "sst")
    assert done.returncode == 2 and "is not a polytask model: it has no tasks.json" in done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (["predict", "hf://me/none", "--task", "a"], "the hub has no such model that you may read"),
    (["predict", "hf://me/reviews@v9", "--task", "a"], 'the hub has no revision "v9" of it'),
    (["predict", "hf://reviews", "--task", "a"], "is not the address of a model; expected hf://user/name")])
def test_what_is_not_there_is_reported_in_a_sentence(hub: Hub, pushed: Repository, tmp_path: Path,
                                                 words: list[str], said: str) -> None:
    done = polytask(hub, tmp_path, *words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def _file_outside(plain: Callable[..., Any]) -> Callable[..., Any]:
    def listing(self: Any, value: Any, *more: Any) -> Any:
        if isinstance(value, list):
            value = [*value, value[0] | {"path": "heads/../../../evil.json"}]
        return plain(self, value, *more)
    return listing


def _commit_outside(plain: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, name, value: plain(self, name, "../../evil" if name == "X-Repo-Commit" else value)


def _cut_short(plain: Callable[..., Any]) -> Callable[..., Any]:
    def header(self: Any, name: str, value: str) -> None:
        if name == "Content-Length" and "/resolve/" in self.path:
            value, self.close_connection = str(int(value) + 1), True
        plain(self, name, value)
    return header


def _no_hub(plain: Callable[..., Any]) -> Callable[..., Any]:
    def answer(self: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"[[[[[")
    return answer


@pytest.mark.parametrize(("method", "change", "said"), [
    ("_json", _file_outside, "path segment"), ("send_header", _commit_outside, "Invalid pointer path"),
    ("send_header", _cut_short, "could not be downloaded"), ("do_GET", _no_hub, "could not be downloaded")])
def test_an_answer_that_no_hub_gives_is_a_sentence_and_writes_nowhere_else(
        method: str, change: Callable[[Any], Any], said: str, hub: Hub, pushed: Repository, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Requests, method, change(getattr(_Requests, method)))
    home = tmp_path / "a" / "b" / "c"
    done = polytask(hub, home, "predict", "hf://me/reviews", "--task", "sst")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not [*tmp_path.rglob("*evil*")]


def test_a_push_without_a_login_says_how_to_log_in(hub: Hub, run: Path, tmp_path: Path) -> None:
    done = polytask(hub, tmp_path, "push", str(run), "me/reviews", token="wrong")
    assert done.returncode == 2 and "the hub refused the upload (status 401); log in with" in done.stderr


def test_names_are_checked_before_anything_is_asked() -> None:
    assert parsed("hf://me/a@v1") == ("me/a", "v1") and parsed("hf://me/a") == ("me/a", None)
    with pytest.raises(CheckpointError, match="is not the address of a model"):
        parsed("hf://me/a/b")
    for address in ("hf://me/a@", "hf://me/a@\n"):
        with pytest.raises(CheckpointError, match="is not the address of a model"):
            parsed(address)
    for name in ("a", "a/b c", "a/..", "a/b--c", "é/ü", "a/" + "b" * 100):
        with pytest.raises(ConfigError, match=r"NAME: found .* expected user/name in letters"):
            pk.push("runs/none", name, dry_run=True)
    with pytest.raises(RunError, match="File name too long"):
        pk.push("x" * 5_000, "me/a", dry_run=True)


def _card_of_another(model: Path, outside: Path) -> None:
    outside.write_text("a secret")
    (model / "README.md").unlink()
    (model / "README.md").symlink_to(outside)


@pytest.mark.parametrize(("change", "said"), [
    (_card_of_another, r"README\.md: is a link to .*, outside the folder"),
    (lambda model, _: (model / "README.md").write_bytes(b"\xff"), r"README\.md: cannot be read"),
    (lambda model, _: shutil.rmtree(model / "heads"), r"heads/sst/config\.json: is missing"),
    (lambda model, _: (model / "model.safetensors").write_bytes(b""), "is not a whole safetensors file"),
    (lambda model, _: (model / "tokenizer.json").unlink(), "there is neither tokenizer.json")])
def test_a_card_of_another_file_or_a_model_that_nobody_could_load_is_not_pushed(
        change: Callable[[Path, Path], Any], said: str, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").unlink(missing_ok=True)
    change(tmp_path / "model", tmp_path / "outside")
    with pytest.raises(PolytaskError, match=said):
        pk.push(tmp_path / "model", "me/reviews", dry_run=True)
