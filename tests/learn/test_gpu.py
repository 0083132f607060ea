"""Training on a GPU: the same numbers as on the CPU in fp32, and one wait for the device an update."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from networks import TinyRows, randomize, tiny_model
from polytask.learn.checkpoint import load_checkpoint, save_checkpoint
from polytask.model.multitask import MultiTask
from trainer_bench import ROWS, Bench, alpha_beta, named

pytestmark = [pytest.mark.gpu,
              pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

TABLES: dict[str, dict[str, Any]] = {
    "plain": {},
    "joint": {"schedule": {"type": "batch_round_robin", "joint": True}},
    "learned weights, average, clip, accumulation": {
        "weighting": "automatic", "ema": 0.9, "accumulate": 2, "optimizer": {"lr": 1e-3, "clip": 0.5}},
    "rates of tasks": {"optimizer": {"lr": 1e-3, "layer_rates": alpha_beta(1, 2)},
                       "schedule": {"type": "batch_round_robin", "joint": True}},
    "surgery": {"surgery": "pcgrad", "schedule": {"type": "batch_round_robin", "joint": True}},
    "cosines": {"gradient_cosines": 1, "schedule": {"type": "batch_round_robin", "joint": True}},
    "weights that stay on the CPU": {"weighting": "torchjd:UW", "optimizer": {"lr": 1e-3, "clip": 0.5}},
    "a rule with values of tasks": {"surgery": {"type": "torchjd:Constant", "weights": [0.2, 0.3, 0.5]},
                                    "schedule": {"type": "batch_round_robin", "joint": True}},
    "kendall": {"weighting": "kendall", "schedule": "merged"},
}
SMART: dict[str, Any] = {"regularizers": [{"type": "smart", "tasks": ["sst"], "bregman": 0.5}]}


def on(device: str, dropout: float = 0.0) -> MultiTask:
    torch.manual_seed(1)
    model = tiny_model(dropout=dropout)
    randomize(model.task_heads)
    return model.to(device)


def trained(table: dict[str, Any], device: str) -> tuple[list[dict[str, Any]], Bench]:
    bench = Bench({"epochs": 2, "precision": "fp32", **table}, model=on(device))
    return bench.run(), bench


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_a_gpu_trains_as_the_cpu_does(table: dict[str, Any]) -> None:
    cpu, on_cpu = trained(table, "cpu")
    gpu, on_gpu = trained(table, "cuda")
    for one, other in zip(named(cpu, "step"), named(gpu, "step"), strict=True):
        assert other["losses"] == pytest.approx(one["losses"], rel=1e-3, abs=1e-4)
        assert other["rows"] == one["rows"] and other["lr"] == one["lr"]
    moved = on_gpu.weights()
    for name, weight in on_cpu.weights().items():
        if not name.endswith("key.bias"):  # its gradient is rounding alone
            torch.testing.assert_close(moved[name].cpu(), weight, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("precision", ["auto", "bf16", "tf32", "fp32"])
@pytest.mark.parametrize("table", [{}, SMART, {"surgery": "pcgrad"}], ids=["plain", "smart", "surgery"])
def test_every_precision_trains(table: dict[str, Any], precision: str) -> None:
    bench = Bench({"epochs": 2, "precision": precision, **table}, model=on("cuda", 0.1))
    events = named(bench.run(), "step")
    assert len(events) > 4 and all(weight.isfinite().all() for weight in bench.weights().values())


# With surgery: the dots of all parameters, a factor and a loss for each task, whatever the encoder's size.
@pytest.mark.parametrize(("table", "most"), [({}, 1), ({"surgery": "pcgrad"}, 12)],
                         ids=["plain", "surgery"])
def test_an_update_waits_for_the_device_once(table: dict[str, Any], most: int) -> None:
    joint = {"schedule": {"type": "batch_round_robin", "joint": True}, "weighting": "sum",
             "optimizer": {"lr": 1e-3, "clip": 1.0}, "epochs": 2, **table}
    bench = Bench(joint, model=on("cuda"), rows=TinyRows(ROWS))
    steps = bench.trainer.run()
    for _ in range(2):  # the optimizer's state, plans of attention
        next(steps)
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            assert next(steps)["event"] == "step"
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [f"{w.filename}:{w.lineno}" for w in waits if "called a synchroniz" in str(w.message)]
    assert len(places) <= most, places


def test_a_training_on_a_gpu_resumes_where_it_stopped(tmp_path: Path) -> None:
    table = {"epochs": 2, "precision": "fp32", "schedule": {"type": "batch_round_robin", "joint": True}}
    whole = Bench(table, model=on("cuda", 0.1))
    torch.manual_seed(5)
    whole.run()
    first = Bench(table, model=on("cuda", 0.1))
    torch.manual_seed(5)
    first.run(3)
    save_checkpoint(tmp_path / "checkpoint", first.trainer.state())
    second = Bench(table, model=on("cuda", 0.1))
    torch.manual_seed(99)
    second.trainer.load(load_checkpoint(tmp_path / "checkpoint"))
    second.run()
    for name, weight in whole.weights().items():
        torch.testing.assert_close(second.weights()[name], weight, rtol=1e-3, atol=1e-5)
