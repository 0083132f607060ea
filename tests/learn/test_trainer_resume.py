"""A training that is stopped, saved and resumed is one that never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.learn.checkpoint import load_checkpoint, save_checkpoint
from polytask.learn.surgery.pcgrad import PCGrad
from trainer_bench import Bench, alpha_beta, named

RESUMED: dict[str, dict[str, Any]] = {
    "plain": {},
    "learned weights, average, clip": {"weighting": "automatic", "ema": 0.9, "accumulate": 2,
                                       "optimizer": {"lr": 1e-3, "clip": 0.5}},
    "rates of tasks": {"optimizer": {"lr": 1e-3, "layer_rates": alpha_beta(1, 2)}},
    "a layer at rest, clip": {"surgery": "pcgrad", "schedule": "balanced", "optimizer": {
        "lr": 1e-3, "clip": 0.5, "layer_rates": {"0": 0, "embeddings": 0}}},
    "merged": {"schedule": "merged", "epochs": 4},
    "surgery": {"surgery": "pcgrad", "schedule": {"type": "batch_round_robin", "joint": True}},
    "smart": {"regularizers": [{"type": "smart", "tasks": ["sst"], "bregman": 0.5}]},
    "phases": {"phases": [{"epochs": 1, "tasks": ["sst", "sts"]},
                          {"epochs": 1, "keep_optimizer": True, "tasks": ["sst", "sts"]}],
               "weighting": "kendall"},
}


@pytest.mark.parametrize("table", RESUMED.values(), ids=list(RESUMED))
@pytest.mark.parametrize("stop", [1, 5, 6])
def test_a_resumed_training_is_one_that_never_stopped(
    table: dict[str, Any], stop: int, tmp_path: Path
) -> None:
    _resumes(table, stop, tmp_path)


def test_surgery_goes_on_drawing_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PCGrad's order shows in the weights only where gradients conflict; these draws always do."""
    draws = []

    def drawn(_: PCGrad, gramian: Tensor, generator: torch.Generator) -> Tensor:
        draws.append(len(gramian))
        return torch.rand(len(gramian), generator=generator)

    monkeypatch.setattr(PCGrad, "weights", drawn)
    _resumes(RESUMED["surgery"], 5, tmp_path)
    assert len(draws) > 10 and set(draws) == {3}


def _resumes(table: dict[str, Any], stop: int, tmp_path: Path) -> None:
    whole = Bench({"epochs": 2, **table})
    torch.manual_seed(5)
    events = whole.run()
    first = Bench({"epochs": 2, **table})
    torch.manual_seed(5)
    done = first.run(stop)
    save_checkpoint(tmp_path / "checkpoint", first.trainer.state())
    second = Bench({"epochs": 2, **table})
    torch.manual_seed(99)
    second.trainer.load(load_checkpoint(tmp_path / "checkpoint"))
    rest = second.run()
    timed = ("seconds", "best")
    told = [{key: value for key, value in event.items() if key not in timed}
            for event in [*done, *rest] if event["event"] == "step"]
    assert told == [{key: value for key, value in event.items() if key not in timed}
                    for event in named(events, "step")]
    for name, value in whole.weights().items():
        assert torch.equal(second.weights()[name], value), name


ENDS: dict[str, dict[str, Any]] = {
    "with its epochs": {"epochs": 2, "evaluate_every": 4},
    "at max_steps, with an epoch": {"epochs": 3, "max_steps": 10, "evaluate_every": 4},
    "at max_steps, within an epoch": {"epochs": 3, "max_steps": 7},
    "by early stopping": {"epochs": 4, "early_stopping": 1},
    "with each phase": {"phases": [{"max_steps": 5}, {"max_steps": 5}], "weighting": "kendall",
                        "evaluate_every": 3},
}


@pytest.mark.parametrize("table", ENDS.values(), ids=list(ENDS))
def test_a_training_ends_the_same_from_a_checkpoint_after_any_update(table: dict[str, Any]) -> None:
    """Its epochs, evaluations and position too: the last update of an epoch is not the epoch's end."""
    def told(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in event.items() if key != "seconds"}
                for event in events if event["event"] in ("step", "evaluation")]

    def ended(bench: Bench) -> dict[str, Any]:
        return {**bench.trainer.state()["position"], "seconds": None}

    whole = Bench(table)
    events = told(whole.run())
    for stop in range(1, whole.trainer.at.total + 1):
        first, second = Bench(table), Bench(table)
        done = first.run(stop)
        second.trainer.load(first.trainer.state())
        assert told([*done, *second.run()]) == events, stop
        assert ended(second) == ended(whole), stop
