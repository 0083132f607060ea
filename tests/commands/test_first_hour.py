"""The first hour: the demo, the version, completion, the schema, and the next command to type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from polytask import sample
from polytask.commands.demo import demo
from polytask.commands.init import guesses, scaffold
from polytask.commands.schema import config_schema
from polytask.config import Run
from polytask.data.cache import Cache
from polytask.data.labels import Labels
from polytask.losses.contract import LossContext
from polytask.losses.cross_entropy import CrossEntropy
from test_cli import run_cli

EXAMPLES = Path(__file__).parents[2] / "examples"
jsonschema = pytest.importorskip("jsonschema")


def test_the_demo_trains_resumes_and_says_what_to_type_next(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--out", str(tmp_path / "demo"), "-q",
             "--set", f"encoder.checkpoint={tiny_checkpoint}", "--set", "train.max_steps=2",
             "--set", "data.max_length=32"]
    code, out, err = run_cli(*words, capsys=capsys)
    assert code == 0, err
    assert "TF-IDF with logistic regression" in out
    assert "next: echo 'A gem from start to finish.' | polytask predict " in out
    assert run_cli(*words, capsys=capsys)[:2] == (0, out)  # finished: nothing is trained again
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    code, _, err = run_cli("demo", "--out", str(tmp_path / "other"), capsys=capsys)
    assert code == 2 and "give another --out" in err


def test_version_and_completion(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_cli("--version", capsys=capsys) == (0, f"polytask {version('polytask')}\n", "")
    code, out, _ = run_cli("--help", capsys=capsys)
    assert code == 0 and "--install-completion" in out and "First time here: polytask demo" in out
    monkeypatch.setenv("POLYTASK_LOG", "loud")
    code, _, err = run_cli("list", "losses", capsys=capsys)
    assert code == 2 and err.startswith('polytask: POLYTASK_LOG: found "loud"')


def test_completion_is_installed_and_completes_verbs(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("polytask")
    if not program.is_file():
        pytest.skip("the package is not installed here, so there is no command to complete")
    at_home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", f"'{program}' --install-completion; true"], env=at_home,
                          capture_output=True, text=True, check=True)
    assert "bash completion installed in" in done.stdout and (tmp_path / ".bashrc").is_file(), done.stderr
    typed = {"_POLYTASK_COMPLETE": "complete_bash", "COMP_WORDS": "polytask tr", "COMP_CWORD": "1"}
    done = subprocess.run([program], env=at_home | typed, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["train"]


@pytest.mark.usefixtures("log_as_before")
def test_a_refusal_has_its_traceback_under_debug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYTASK_LOG", "debug")
    _, _, err = run_cli("check", "nowhere.toml", capsys=capsys)
    assert "Traceback" in err and err.splitlines()[-1].startswith("polytask: nowhere.toml")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return config_schema()


def test_the_schema_admits_every_config_of_ours(schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft7Validator(schema)
    validator.check_schema(schema)
    configs = [tomllib.loads(path.read_text(encoding="utf-8"))
               for path in (*EXAMPLES.glob("*.toml"), *EXAMPLES.parent.glob("recipes/bases/*.toml"))]
    runs = [config for config in configs if "tasks" in config]
    assert len(runs) >= 8
    for config in runs:
        assert [error.message for error in validator.iter_errors(config)] == []
    whole = tomllib.loads(Run.from_toml(sample.demo_config()).to_toml())  # every default written out
    assert [error.message for error in validator.iter_errors(whole)] == []


@pytest.mark.parametrize(("key", "value"), [
    ("train.shedule", "sum"), ("train.surgery", "pcgard"), ("train.epochs", "many"),
    ("train.weighting", 3),
    ("tasks.sst.loss", {"type": "cross_entropy", "label_smothing": 0.1}),
    ("tasks.sst.metrics", ["acuracy"]),
    ("tasks.sst.text", []), ("encoder", {}),
])
def test_the_schema_refuses_what_a_config_may_not_hold(
    schema: dict[str, Any], key: str, value: object
) -> None:
    config = tomllib.loads(sample.demo_config().read_text(encoding="utf-8"))
    *where, last = key.split(".")
    table = config
    for name in where:
        table = table[name]
    table[last] = value
    assert not jsonschema.Draft7Validator(schema).is_valid(config)


def test_the_schema_admits_components_of_ones_own_and_has_the_docs(schema: dict[str, Any]) -> None:
    config = tomllib.loads(sample.demo_config().read_text(encoding="utf-8"))
    config["tasks"]["sst"] |= {"loss": ["my_parts:Focal", {"type": "my_parts:Other", "gamma": 2}],
                               "metrics": ["my_parts:hits", "accuracy"]}
    config["train"]["surgery"] = "torchjd:UPGrad"
    assert jsonschema.Draft7Validator(schema).is_valid(config)
    epochs = schema["$defs"]["Train"]["properties"]["epochs"]
    assert epochs["description"].startswith("Epochs, as the schedule")


def test_init_writes_the_schema_beside_and_says_what_it_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"a sentence of number {n},{'spam' if n % 3 else 'ham'}" for n in range(60)]
    data = tmp_path / "mail-train.csv"
    data.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    code, out, err = run_cli("init", str(data), "--out", str(tmp_path / "mail.toml"), capsys=capsys)
    assert code == 0, err
    assert out.startswith("mail: text -> label (binary: spam (40), ham (20); positive: spam; "
                          "no other column can be a label); text: the only column of sentences\n")
    assert out.endswith(f"then run: polytask check {tmp_path / 'mail.toml'}\n")
    text = (tmp_path / "mail.toml").read_text(encoding="utf-8")
    assert text.startswith("#:schema ./polytask.schema.json\n")
    assert '# metrics = ["accuracy", ' in text and '# threshold = "tuned"' in text
    assert json.loads((tmp_path / "polytask.schema.json").read_text(encoding="utf-8")) == config_schema()


def test_alternatives_in_comments_are_valid_once_uncommented(tmp_path: Path) -> None:
    files = [sample.root() / f"{name}-train.csv" for name in ("sst", "quora", "sts")]
    text = scaffold(files, cache=Cache(tmp_path / "cache"))
    assert len(guesses(text)) == 3
    offered = [line.removeprefix("# ") for line in text.splitlines()
               if line.startswith(("# metrics =", "# threshold =", "# schedule =", "# weighting ="))]
    assert len(offered) == 6
    asked = "\n".join(line.removeprefix("# ") if line.removeprefix("# ") in offered else line
                      for line in text.splitlines())
    run = Run.from_table(tomllib.loads(asked))
    assert run.train.weighting.name == "uncertainty" and run.tasks["quora"].threshold == "tuned"


def test_class_weights_have_the_names_of_classes() -> None:
    labels = Labels("classes", ("ham", "spam", "eggs"))
    assert CrossEntropy(class_weights={"spam": 4}).prepared(labels, None).class_weights == (1, 4, 1)
    assert 'class_weights: "spma" is not a class; did you mean "spam"?' in str(
        CrossEntropy(class_weights={"spma": 4}).problem(LossContext(labels)))


@pytest.mark.skipif(os.environ.get("POLYTASK_DEMO") != "1", reason="takes minutes: POLYTASK_DEMO=1")
@pytest.mark.timeout(1800)
def test_no_task_of_the_demo_loses_to_counting_words(tmp_path: Path) -> None:
    result = demo(tmp_path / "demo", quiet=True)
    for task, scores in result.evaluation.scores.items():
        metric = next(iter(scores))
        for baseline in result.baselines[task]:
            assert scores[metric] >= baseline.scores.get(metric, 0.0), (task, metric, baseline)
