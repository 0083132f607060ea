"""The loop by itself: what it yields and when, rates of tasks, and when it must stop."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from networks import TinyRows
from polytask.core.errors import Diverged
from polytask.learn.microbatch import TaskRows
from polytask.model.output import Output
from trainer_bench import ROWS, Bench, alpha_beta, named

# ---- the loop


def test_an_epoch_is_its_steps_an_evaluation_and_a_save() -> None:
    bench = Bench({"epochs": 2})
    events = bench.run()
    assert [event["event"] for event in events] == [
        *["step"] * 5, "evaluation", "save", *["step"] * 5, "evaluation", "save", "save", "end"]
    assert [event["step"] for event in named(events, "step")] == list(range(1, 11))
    assert bench.trainer.num_steps == 10
    assert bench.evaluated_in == [False, False]
    assert named(events, "end")[0]["tokens"] == sum(event["tokens"] for event in named(events, "step"))


@pytest.mark.parametrize(("schedule", "place"), [
    ("balanced", (1, 0, 8)), ("batch_round_robin", (0, 1, 20))])
def test_an_epoch_begins_a_pass_anew_where_the_schedule_wants_it(
    schedule: str, place: tuple[int, int, int],
) -> None:
    bench = Bench({"epochs": 2, "schedule": schedule})
    bench.run()
    sampler = bench.trainer.samplers["sst"]
    assert (sampler.epoch, sampler.turn, sampler.position) == place


def test_max_steps_ends_in_the_middle_of_an_epoch_with_an_evaluation() -> None:
    events = Bench({"epochs": 2, "max_steps": 7}).run()
    assert [event["step"] for event in named(events, "step")] == list(range(1, 8))
    assert [event["step"] for event in named(events, "evaluation")] == [5, 7]


def test_evaluations_come_every_so_many_steps() -> None:
    events = Bench({"epochs": 2, "evaluate_every": 4}).run()
    assert [event["step"] for event in named(events, "evaluation")] == [4, 8, 10]


@pytest.mark.technique("M-36")
def test_training_stops_when_the_score_does_not_rise_and_the_best_is_kept() -> None:
    bench = Bench({"epochs": 9, "early_stopping": 2}, scores=[0.3, 0.6, 0.5, 0.6, 0.9])
    events = bench.run()
    assert [event["overall"] for event in named(events, "evaluation")] == [0.3, 0.6, 0.5, 0.6]
    assert bench.kept == ["model", "model"]
    assert named(events, "end")[0]["best"] == 0.6


def test_the_best_of_each_task_is_kept_where_it_is_asked_for() -> None:
    values = iter([{"sst": 0.1, "sts": 0.9}, {"sst": 0.4, "sts": 0.2}, {"sst": 0.4, "sts": 0.95}])
    bench = Bench({"epochs": 3, "best_per_task": True}, scores=[0.5, 0.4, 0.3], own=lambda: next(values))
    bench.run()
    assert bench.kept == ["model", "best/sst", "best/sts", "best/sst", "best/sts"]


def test_rates_rise_and_fall_over_all_updates_of_a_phase() -> None:
    events = named(Bench({"epochs": 2, "optimizer": {"lr": 1.0e-3, "warmup": 0.2, "lr_schedule": "linear"}}
                         ).run(), "step")
    assert [round(event["lr"] * 1e3, 4) for event in events] == [
        0.3333, 0.6667, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


def test_the_rates_of_each_phase_run_their_own_course() -> None:
    optimizer = {"lr": 1.0e-3, "warmup": 0.2, "lr_schedule": "linear"}
    alone = [event["lr"] for event in named(Bench({"epochs": 1, "optimizer": optimizer}).run(), "step")]
    both = named(Bench({"phases": [{"epochs": 1}, {"epochs": 1}], "optimizer": optimizer}).run(), "step")
    assert [event["lr"] for event in both] == [*alone, *alone]


def test_what_a_weighting_draws_is_another_in_each_phase_and_the_first_phase_draws_as_alone() -> None:
    random = {"weighting": "torchjd:Random", "batch_size": 8}
    alone = [event["weight"] for event in named(Bench({"epochs": 1, **random}).run(), "step")]
    both = [event["weight"] for event in named(
        Bench({"phases": [{"epochs": 1}, {"epochs": 1}], **random}).run(), "step")]
    assert both[:len(alone)] == alone
    assert all(later != earlier for later, earlier in zip(both[len(alone):], alone, strict=True))


def test_the_copy_of_a_penalty_follows_each_update() -> None:
    bench = Bench({"max_steps": 1, "regularizers": [{"type": "smart", "bregman": 1.0, "momentum": 0.0}]})
    teacher = bench.trainer.penalties[0].module.teacher
    assert isinstance(teacher, torch.nn.Module)
    before = bench.weights()
    bench.run()
    after = bench.weights()
    for name, copied in teacher.named_parameters():
        torch.testing.assert_close(copied, after[name])
    assert not torch.equal(before["encoder.layers.0.up.weight"], after["encoder.layers.0.up.weight"])


def test_a_weighting_is_told_of_the_end_of_each_epoch() -> None:
    bench, ends = Bench({"epochs": 2}), list[int]()
    bench.trainer.weighting.after_epoch = lambda: ends.append(bench.trainer.at.total)  # type: ignore[method-assign]
    bench.run()
    assert ends == [5, 10]


@pytest.mark.technique("S-11")
def test_the_weightings_own_rate_is_that_of_its_weights_alone() -> None:
    adam = {"type": "adamw", "lr": 1e-4, "warmup": 0.0, "lr_schedule": "constant"}
    bench = Bench({"optimizer": adam, "weighting": {"type": "automatic", "lr": 3e-2}})
    before = bench.weights()
    bench.run(1)
    for value in bench.trainer.weighting.parameters():  # sigma starts at 1; Adam moves it by its rate
        assert abs(value.item() - 1) == pytest.approx(3e-2, rel=1e-2)
    distance = (bench.weights()["encoder.layers.0.up.weight"] - before["encoder.layers.0.up.weight"]).abs()
    assert distance.median().item() == pytest.approx(1e-4, rel=0.05)
    shared = Bench({"optimizer": adam, "weighting": "automatic"})
    shared.run(1)
    assert all(abs(value.item() - 1) == pytest.approx(1e-4, rel=1e-2)
               for value in shared.trainer.weighting.parameters())


def test_the_average_is_what_is_evaluated_and_the_weights_are_what_is_trained() -> None:
    seen = []
    bench = Bench({"epochs": 1, "ema": 0.5, "optimizer": {"type": "sgd", "lr": 0.1, "warmup": 0.0}})
    paths = [bench.weights()["encoder.layers.0.up.bias"]]
    inner = bench.trainer.evaluate
    bench.trainer.evaluate = lambda: (seen.append(bench.weights()), inner())[1]  # type: ignore[func-returns-value]
    paths += [bench.weights()["encoder.layers.0.up.bias"] for event in bench.trainer.run()
              if event["event"] == "step"]
    average = paths[0]
    for weight in paths[1:]:
        average = 0.5 * average + 0.5 * weight
    torch.testing.assert_close(seen[0]["encoder.layers.0.up.bias"], average)
    assert torch.equal(bench.weights()["encoder.layers.0.up.bias"], paths[-1])


# ---- phases


def test_phases_follow_one_another_with_their_own_tasks() -> None:
    bench = Bench({"phases": [{"tasks": ["sst"], "epochs": 1}, {"tasks": ["sts", "quora"], "epochs": 2}]})
    events = bench.run()
    assert [(event["phase"], sorted(event["losses"])) for event in named(events, "step")] == [
        *[(0, ["sst"])] * 5, *[(1, ["quora", "sts"])] * 6]
    assert bench.trainer.num_steps == 11


@pytest.mark.parametrize("keep", [False, True])
def test_a_phase_keeps_the_optimizers_moments_if_asked(keep: bool) -> None:
    bench = Bench({"phases": [{"epochs": 1}, {"epochs": 1, "keep_optimizer": keep}]})
    weight = bench.model.encoder.layers[0].up.weight
    steps = [int(bench.trainer.optimizer.state[weight]["step"]) for event in bench.trainer.run()
             if event["event"] == "step"]
    assert steps == ([*range(1, 11)] if keep else [*range(1, 6), *range(1, 6)])


# ---- rates of tasks (T-27)

ADAM = {"type": "adamw", "lr": 1e-3, "weight_decay": 0.0, "warmup": 0.0, "lr_schedule": "constant"}


def moved(rates: dict[str, Any], steps: int = 1, optimizer: dict[str, Any] | None = None,
          **table: Any) -> dict[str, Tensor]:
    """How far each weight of the encoder went in some updates."""
    bench = Bench({"optimizer": {**(optimizer or ADAM), "layer_rates": rates}, **table})
    before = bench.weights()
    bench.run(steps)
    return {name: after - before[name] for name, after in bench.weights().items()
            if name.startswith("encoder.layers.")}


@pytest.mark.technique("T-27", "T-28")
def test_twice_the_rates_move_adam_twice_as_far() -> None:
    """The rows "alpha 0.5 beta 1" and "alpha 1 beta 2" of Table 11 are two models, not one."""
    low, high = moved(alpha_beta(0.5, 1)), moved(alpha_beta(1, 2))
    for name, distance in low.items():
        torch.testing.assert_close(high[name], 2 * distance, rtol=1e-3, atol=1e-6, msg=name)
        assert distance.abs().max() > 1e-4


@pytest.mark.technique("T-27")
def test_a_layer_moves_at_the_mean_of_the_rates_of_the_steps_tasks() -> None:
    """Adam's first update is lr · sign(g): its size is the rate itself."""
    for alpha, beta in ((1.0, 2.0), (0.5, 1.0), (1.0, 3.0)):
        found = moved(alpha_beta(alpha, beta))
        mean = (2 * alpha + beta) / 3
        assert found["encoder.layers.0.up.weight"].abs().median().item() == pytest.approx(
            1e-3 * mean, rel=1e-2)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_one_table_for_every_task_is_a_table_of_rates(factor: float) -> None:
    by_task = moved({task: {"0": factor} for task in ROWS}, steps=4)
    plain = moved({"0": factor}, steps=4)
    for name in plain:
        torch.testing.assert_close(by_task[name], plain[name], rtol=1e-3, atol=1e-7, msg=name)


@pytest.mark.technique("T-27")
def test_a_step_of_one_task_has_that_tasks_rate() -> None:
    turns = {"schedule": {"type": "batch_round_robin", "joint": False}}
    found = moved({"sst": {"0": 4.0}}, **turns)
    plain = moved({}, **turns)
    for name, distance in found.items():
        expected = 4 * plain[name] if ".layers.0." in name else plain[name]
        torch.testing.assert_close(distance, expected, rtol=1e-3, atol=1e-7, msg=name)


def test_plain_sgd_gives_each_tasks_gradient_its_own_rate() -> None:
    sgd = {"type": "sgd", "lr": 0.1, "weight_decay": 0.0, "warmup": 0.0, "lr_schedule": "constant"}
    whole = moved({"sst": {"0": 5.0}, "sts": {"0": 0.0}}, optimizer=sgd)
    name = "encoder.layers.0.up.weight"
    only = {task: moved({each: {"0": float(each == task)} for each in ROWS}, optimizer=sgd)[name]
            for task in ROWS}
    torch.testing.assert_close(whole[name], 5 * only["sst"] + only["quora"], rtol=1e-3, atol=1e-6)


def test_a_layer_that_no_task_trains_stays_weight_decay_and_all() -> None:
    held = moved({task: {"0": 0.0} for task in ROWS}, steps=5, optimizer={**ADAM, "weight_decay": 0.5})
    assert all(not distance.any() for name, distance in held.items() if ".layers.0." in name)
    assert all(distance.any() for name, distance in held.items() if ".layers.1." in name)


@pytest.mark.technique("M-5")
def test_a_model_of_one_task_is_scored_with_the_heads_of_the_others_as_they_began() -> None:
    bench = Bench({"epochs": 1, "phases": [{"tasks": ["sst"]}]}, own=lambda: dict.fromkeys(ROWS, 0.5))
    before = bench.weights()
    scored = named(bench.run(), "evaluation")
    assert scored and bench.evaluated_in
    after = bench.weights()
    changed = {name.split(".")[1] for name in after
               if name.startswith("task_heads.") and not torch.equal(after[name], before[name])}
    assert changed == {"sst"}
    assert not torch.equal(after["encoder.layers.0.up.weight"], before["encoder.layers.0.up.weight"])


def test_a_layer_at_rest_is_not_in_the_norm_and_trains_in_a_later_phase() -> None:
    optimizer = {**ADAM, "clip": 1e-3, "layer_rates": {"0": 0, "embeddings": 0}}
    bench = Bench({"phases": [{"epochs": 1, "optimizer": optimizer}, {"epochs": 1}], "optimizer": ADAM})
    before = bench.weights()
    bench.run(1)
    first = bench.trainer.model.encoder.layers[0].up.weight
    assert first.grad is None and not first.requires_grad
    bench.run(5)
    assert torch.equal(first, before["encoder.layers.0.up.weight"])
    bench.run(6)
    assert first.requires_grad and not torch.equal(first, before["encoder.layers.0.up.weight"])


# ---- what must not be saved


class _Bad(TinyRows):
    """Losses that are finite, but from some update on with a gradient that is not."""

    def __init__(self, after: int) -> None:
        super().__init__(ROWS)
        self.left = after

    def loss(self, task_rows: TaskRows, output: Output, target: Tensor) -> Tensor:
        value = super().loss(task_rows, output, target)
        if task_rows.task == "sst":
            self.left -= 1
            if self.left < 0:
                return value + (output.field("logits") * 0).sum().sqrt()
        return value


@pytest.mark.parametrize("more", [{}, {"surgery": "pcgrad"}, {"optimizer": {"lr": 1e-3, "clip": 1.0}},
                                  {"weighting": "automatic", "accumulate": 2}], ids=str)
def test_a_gradient_that_is_not_a_number_ends_the_training_before_the_update(more: dict[str, Any]) -> None:
    bench = Bench({"max_steps": 1, **more}, rows=_Bad(0))
    before = bench.weights()
    with pytest.raises(Diverged, match=r"step 1: the norm of the gradient is nan, so training stopped; a "
                                       r"lower train\.optimizer\.lr or train\.optimizer\.clip"):
        bench.run()
    assert bench.kept == [] and bench.evaluated_in == []
    assert all(torch.equal(value, before[name]) for name, value in bench.weights().items())


def test_what_was_saved_before_stays_and_a_resumed_training_ends_at_the_same_step() -> None:
    bench = Bench({"epochs": 2}, rows=_Bad(7))
    with pytest.raises(Diverged, match=r"step 8: the norm of the gradient is nan"):
        bench.saved()
    assert bench.kept == ["model"]
    again = Bench({"epochs": 2}, rows=_Bad(7))
    again.run(3)
    resumed = Bench({"epochs": 2}, rows=_Bad(4))
    resumed.trainer.load(again.trainer.state())
    with pytest.raises(Diverged, match=r"step 8: the norm of the gradient is nan"):
        resumed.run()


def test_a_loss_that_is_not_a_number_is_reported_by_its_task() -> None:
    class Endless(TinyRows):
        def loss(self, task_rows: TaskRows, output: Output, target: Tensor) -> Tensor:
            value = super().loss(task_rows, output, target)
            return value * math.inf if task_rows.task == "sts" else value

    bench = Bench({}, rows=Endless(ROWS))
    with pytest.raises(Diverged, match=r'step 1: the loss of task "sts" is inf, so training stopped'):
        bench.run()
    assert bench.kept == []


def test_a_penalty_that_is_not_a_number_is_reported_by_its_name() -> None:
    bench = Bench({"regularizers": [{"type": "norm", "p": 2, "weight": 1e30}]})
    with torch.no_grad():
        bench.model.encoder.layers[0].up.weight.mul_(1e10)
    with pytest.raises(Diverged, match=r'step 1: the penalty "norm" is inf, so training stopped'):
        bench.run()
    assert bench.kept == []


@pytest.mark.parametrize("table", [{"max_steps": 1}, {"max_steps": 3, "save_every": 1}], ids=str)
def test_an_update_beyond_all_numbers_is_neither_evaluated_nor_saved(table: dict[str, Any]) -> None:
    bench = Bench({**table, "optimizer": {"type": "sgd", "lr": 3e38, "warmup": 0.0}})
    with torch.no_grad():
        for p in bench.model.parameters():
            p.mul_(30)  # gradients above 1, so that the update leaves float32
    with pytest.raises(Diverged, match=r"step 1: the norm of the weights is (inf|nan) after it"):
        bench.saved()
    assert bench.kept == [] and bench.evaluated_in == []
