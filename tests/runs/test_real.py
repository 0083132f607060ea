"""The configs in `examples/` on the real data sets, where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.commands.check import check_run
from polytask.commands.train import train
from polytask.config import Run

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_config(path: Path) -> None:
    assert Run.from_toml(path).tasks


@pytest.mark.data
def test_check_tells_the_rows_of_the_course_and_what_is_wrong_with_them(real_data: Path) -> None:
    run = Run.from_toml(EXAMPLES / "cs224n.toml", [f"data.root={real_data}"])
    told = "\n".join(check_run(run, time_steps=0, quiet=True))
    for said in ("train 8,544 rows", "dev   1,101 rows", "train 61,394 rows, 10,000 used",
                 "dev   20,214 rows, 20,212 used, 2 refused",
                 "no label (quora-dev.csv:2577, quora-dev.csv:14222)", "train 6,040 rows", "dev   863 rows",
                 "16 rows of sts dev that stand in sts train", "2 rows of sst dev that stand in sst train",
                 "625 steps"):
        assert said in told


@pytest.mark.data
def test_two_tasks_that_nobody_planned_for_train(real_data: Path, tiny_checkpoint: Path, tmp_path: Path
                                                 ) -> None:
    run = Run.from_toml(EXAMPLES / "mrpc-sick.toml", [
        f"data.root={real_data}/extra", f"encoder.checkpoint={tiny_checkpoint}",
        "data.max_length=64", "data.baselines=false", "train.max_steps=3",
        "tasks.msr_para.dev_limit=40", "tasks.sick2014.dev_limit=40"])
    result = train(run, tmp_path / "run", quiet=True)
    assert set(result.evaluation.scores) == {"msr_para", "sick2014"}
    assert result.evaluation.rows == {"msr_para": 40, "sick2014": 40}
