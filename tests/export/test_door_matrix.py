"""Every door of one run answers as `pk.load` does, or says why it is closed (bench/doors.py, tiny)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import polytask as pk
from polytask.model.bert import Bert, BertConfig
from polytask.model.pretrained import save_encoder

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import door_tasks
import doors

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = 24
OPEN = {"`--to transformers`": {"film", "relatedness", "direction"},
        "`--to sentence-transformers`": {"question", "similarity", "relatedness", "direction", "embedding"},
        "the model folder in sentence-transformers": {"embedding"},
        "HTTP `/rerank`": {"question", "similarity", "relatedness"},
        "HTTP `/v1/embeddings` (OpenAI)": {"embedding"}}
TASKS = {"sentiment", "film", "question", "similarity", "relatedness", "entailment", "direction"}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory,
          tiny_checkpoint: Path) -> dict[str, dict[str, doors.Cell]]:
    folder, chance = tmp_path_factory.mktemp("doors"), np.random.default_rng(3)
    sizes = BertConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=96,
                       max_position_embeddings=64, initializer_range=0.08)
    save_encoder(Bert(sizes), tiny_checkpoint / "tokenizer.json", folder / "encoder")
    words = ["good", "bad", "film", "plot", "|", "actors", "zwölf", "it's", "a", "very", "=1+1", "scene"]

    def text() -> str:
        return " ".join(chance.choice(words, chance.integers(1, 14)))

    files = {"reviews": (("text", "sentiment"), lambda n: [text(), str(n % 5)]),
             "films": (("text", "film"), lambda n: [text(), str(n % 2)]),
             "questions": (("a", "b", "question"), lambda n: [text(), text(), str(n % 2)]),
             "similar": (("a", "b", "similarity"), lambda n: [text(), text(), str(n % 6)]),
             "sick": (("a", "b", *door_tasks.SICK), lambda n: [
                 text(), text(), str(1 + n % 5), ["YES", "NO", "NEUTRAL"][n % 3],
                 ["p|q", "q|r", "p", "r"][n % 4]])}
    for name, (columns, row) in files.items():
        for split in ("train", "dev"):
            door_tasks.write_rows(folder / f"{name}-{split}.csv", columns, map(row, range(2 * ROWS)))
    table = door_tasks.table_of(folder, str(folder / "encoder"), 32, 6, ROWS)
    table["train"]["optimizer"] = {"lr": 1e-2}  # enough for the answers to differ from row to row
    pk.train(pk.Run.from_table(table), folder / "run", quiet=True)
    return doors.matrix(doors.Doors(folder / "run", folder, ROWS))


def test_every_door_is_open_where_it_can_be_and_says_why_where_not(
    cells: dict[str, dict[str, doors.Cell]]
) -> None:
    assert len(cells) == 13
    for door, row in cells.items():
        found = {task for task, cell in row.items() if cell.difference is not None}
        everywhere = TASKS if ("predict" in door and "HTTP" not in door) or "estimator" in door else (
            TASKS | {"embedding"})
        assert found == OPEN.get(door, everywhere), door
        assert all(cell.reason for cell in row.values() if cell.difference is None), door


def test_every_open_door_gives_the_same_answers(cells: dict[str, dict[str, doors.Cell]]) -> None:
    for door, row in cells.items():
        for task, cell in row.items():
            if cell.difference is not None:
                assert cell.difference < (0.2 if "int8" in door else 1e-4), (door, task)
                assert cell.labels <= (ROWS // 4 if "int8" in door else 0), (door, task)
    assert "| `pk.load(run, engine=\"onnx\")` |" in doors.shown(cells)
