"""One update's gradients: against plain autograd, cut into chunks, a task at a time, and when they fail."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks import TinyRows, randomize, tiny_model
from polytask.learn.microbatch import TaskRows
from polytask.learn.regularizers.context import RegularizerContext
from polytask.learn.regularizers.contract import Attached, Penalty, Regularizer, attach
from polytask.learn.regularizers.norm import Norm
from polytask.learn.regularizers.smart import SMART
from polytask.learn.step import Step
from polytask.learn.surgery.pcgrad import PCGrad
from polytask.learn.weightings.contract import WeightingModule, weighting
from polytask.model.multitask import MultiTask

TASKS = ("sst", "quora", "sts")
KINDS = {"sst": "classes", "quora": "binary", "sts": "regression"}
OURS: list[Any] = [{"type": "fixed", "weights": {"sst": 0.1, "sts": 0.5}} if name == "fixed" else name
                   for name in sorted(weighting.members) if name != "torchjd" and ":" not in name]
THEIRS = ["torchjd:UW", "torchjd:GeometricMean", "torchjd:IMTLL"]


def network(seed: int = 0) -> MultiTask:
    torch.manual_seed(seed)
    model = tiny_model(TASKS)
    randomize(model.task_heads)
    return model


def built(table: Any, seed: int = 0) -> WeightingModule:
    """Return a weighting that has learned something."""
    module = weighting.read(table).build(TASKS, KINDS)
    torch.manual_seed(seed)
    with torch.no_grad():
        for learned in module.parameters():
            learned += 0.4 * torch.rand_like(learned)
    return module


def step_rows(counts: Mapping[str, int]) -> list[TaskRows]:
    return [TaskRows(task, np.arange(count)) for task, count in counts.items()]


def gradients_of(*modules: nn.Module) -> dict[str, Tensor]:
    return {f"{place}.{name}": torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for place, module in enumerate(modules) for name, p in module.named_parameters()}


def computed(table: Any, counts: Mapping[str, int], *, want_cosines: bool = False,
             **options: Any) -> tuple[dict[str, Tensor], dict[str, float]]:
    model, module = network(), built(table)
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, tasks=TASKS, **options)
    record = step(step_rows(counts), 0, want_cosines)
    return gradients_of(model, module), record.losses


def plainly(table: Any, counts: Mapping[str, int]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The same by the definition: every task's loss, the weighting, one backward."""
    model, module, rows = network(), built(table), TinyRows(dict.fromkeys(TASKS, 12))
    losses = {}
    for task, count in counts.items():
        batch, (target,) = rows.batch([(task, np.arange(count))])
        (output,) = model(batch)
        losses[task] = rows.loss(TaskRows(task, np.arange(count)), output, target)
    torch.stack(list(module(losses).values())).sum().backward()
    return gradients_of(model, module), {task: loss.item() for task, loss in losses.items()}


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=2e-4, atol=2e-6, msg=name)


@pytest.mark.technique("G-2", "G-23", "T-13", "T-19")
@pytest.mark.parametrize("table", [*OURS, *THEIRS], ids=str)
@pytest.mark.parametrize("want_cosines", [False, True], ids=["jointly", "task by task"])
def test_the_gradients_are_those_of_the_weighted_sum(table: Any, want_cosines: bool) -> None:
    if str(table).startswith("torchjd"):
        pytest.importorskip("torchjd.scalarization")
    counts = {"sst": 5, "quora": 4, "sts": 3}
    found, losses = computed(table, counts, want_cosines=want_cosines)
    expected, plain = plainly(table, counts)
    assert losses == pytest.approx(plain, rel=1e-5)
    same(found, expected)


@pytest.mark.technique("M-18", "S-9", "S-10")
@pytest.mark.parametrize("table", [*OURS, *THEIRS], ids=str)
@settings(derandomize=True, database=None, deadline=None, max_examples=8)
@given(counts=st.dictionaries(st.sampled_from(TASKS), st.integers(1, 7), min_size=1),
       chunks=st.integers(2, 5))
def test_an_accumulated_step_is_the_whole_one_for_every_weighting(
    table: Any, counts: dict[str, int], chunks: int
) -> None:
    """Also where a task has fewer rows than there are chunks: its constant term counts once."""
    if str(table).startswith("torchjd"):
        pytest.importorskip("torchjd.scalarization")
        counts = {task: counts.get(task, 1) for task in TASKS}  # these need every task
    whole, losses = computed(table, counts)
    cut, same_losses = computed(table, counts, accumulate=chunks)
    assert same_losses == pytest.approx(losses, rel=1e-4)
    same(cut, whole)


@pytest.mark.technique("S-10")
def test_the_constant_of_a_task_with_one_row_counts_once() -> None:
    """d/dσ of l / (2σ²) + log(1 + σ²) at σ = 1 is 1 − l, in however many chunks."""
    for chunks in (1, 2, 4):
        model = network()
        module = weighting.read("automatic").build(TASKS, KINDS)
        step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, tasks=TASKS, accumulate=chunks)
        losses = step(step_rows({"sst": 8, "sts": 1}), 0).losses
        slopes = [p.grad.item() if p.grad is not None else None for p in module.parameters()]
        assert slopes == [pytest.approx(1 - losses["sst"], abs=1e-5), None,
                          pytest.approx(1 - losses["sts"], abs=1e-5)]


@pytest.mark.technique("M-19", "P-11", "S-12")
def test_surgery_acts_on_the_gradients_that_several_tasks_have_and_on_no_others() -> None:
    counts = {"sst": 5, "quora": 4, "sts": 3}
    model = network()
    shared = {name for name, p in model.named_parameters() if not name.startswith("task_heads")}
    rows: dict[str, dict[str, Tensor]] = {}
    for task, count in counts.items():
        alone, _ = computed("sum", {task: count})
        rows[task] = {name.removeprefix("0."): value for name, value in alone.items()}
    matrix = torch.stack([torch.cat([rows[task][name].flatten() for name in sorted(shared)])
                          for task in counts]).double()
    expected = PCGrad().combine(matrix, torch.Generator().manual_seed(0))
    found, _ = computed("sum", counts, surgery=PCGrad(), generator=torch.Generator().manual_seed(0))
    flat = torch.cat([found[f"0.{name}"].flatten() for name in sorted(shared)])
    torch.testing.assert_close(flat.double(), expected, rtol=1e-3, atol=1e-5)
    for name in rows["sst"].keys() - shared:
        task = name.split(".")[1]
        torch.testing.assert_close(found[f"0.{name}"], rows[task][name], rtol=1e-4, atol=1e-6)


@pytest.mark.technique("G-3")
def test_surgery_over_heads_projects_the_whole_network() -> None:
    """As the cited code does: a task's gradient is 0 on the heads of the others, and then projected."""
    counts = {"sst": 5, "quora": 4, "sts": 3}
    rows = []
    for task, count in counts.items():
        alone, _ = computed("sum", {task: count})
        rows.append(torch.cat([value.flatten() for value in alone.values()]))
    matrix = torch.stack(rows).double()
    expected = PCGrad().combine(matrix, torch.Generator().manual_seed(0))
    found, _ = computed("sum", counts, surgery=PCGrad(heads=True),
                        generator=torch.Generator().manual_seed(0))
    flat = torch.cat([value.flatten() for value in found.values()])
    torch.testing.assert_close(flat.double(), expected, rtol=1e-3, atol=1e-5)
    shared, _ = computed("sum", counts, surgery=PCGrad(), generator=torch.Generator().manual_seed(0))
    assert any(not torch.allclose(found[name], shared[name]) for name in found if "task_heads" in name)


def test_surgery_that_waits_sums_in_between() -> None:
    counts = {"sst": 5, "sts": 3}
    model, module = network(), built("sum")
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, PCGrad(every=2), tasks=TASKS)
    record = step(step_rows(counts), 1)
    assert record.cosines == {}
    same(gradients_of(model, module), plainly("sum", counts)[0])
    model.zero_grad()
    assert list(step(step_rows(counts), 2).cosines) == ["sst/sts"]


@pytest.mark.technique("T-27")
def test_rates_of_tasks_weigh_their_gradients_in_the_ratio_of_the_rates() -> None:
    counts = {"sst": 5, "sts": 3}
    model, module = network(), built("sum")
    weight = model.encoder.layers[0].up.weight
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, tasks=TASKS,
                task_rates={weight: {"sst": 3.0, "sts": 1.0, "quora": 9.0}})
    step(step_rows(counts), 0)
    name = "0.encoder.layers.0.up.weight"
    alone = {task: computed("sum", {task: count})[0] for task, count in counts.items()}
    torch.testing.assert_close(weight.grad, 1.5 * alone["sst"][name] + 0.5 * alone["sts"][name],
                               rtol=1e-4, atol=1e-6)
    other = "0.encoder.layers.1.up.weight"
    torch.testing.assert_close(model.encoder.layers[1].up.weight.grad,
                               alone["sst"][other] + alone["sts"][other], rtol=1e-4, atol=1e-6)
    model.zero_grad()
    step(step_rows({"sst": 5}), 1)  # alone, its rate is all that differs
    torch.testing.assert_close(weight.grad, alone["sst"][name])


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("surgery", [None, PCGrad()], ids=["joint", "pcgrad"])
def test_a_penalty_of_the_step_counts_once(chunks: int, surgery: PCGrad | None) -> None:
    counts = {"sst": 5, "sts": 3}
    model, module = network(), built("sum")
    regularizer = attach(Norm(p=2, weight=0.01), model)
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, surgery, [regularizer],
                accumulate=chunks, tasks=TASKS, generator=torch.Generator().manual_seed(0))
    record = step(step_rows(counts), 0)
    squares = sum(p.detach().double().square().sum().item() for p in model.parameters())
    assert record.penalties == {"norm": pytest.approx(0.01 * squares, rel=1e-5)}
    bare, _ = computed("sum", counts, surgery=surgery, generator=torch.Generator().manual_seed(0))
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, bare[f"0.{name}"] + 0.02 * p.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_penalty_of_a_task_has_its_weight_however_the_step_is_cut(chunks: int) -> None:
    model, module = network(), built("sum")
    penalty = attach(Norm(p=2, over="head", tasks=("sst",), weight=0.5), model)
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, None, [penalty], accumulate=chunks,
                tasks=TASKS)
    record = step(step_rows({"sst": 7, "sts": 3}), 0)
    squares = sum(p.detach().square().sum().item() for p in model.task_heads["sst"].parameters())
    assert record.penalties == {"norm/sst": pytest.approx(0.5 * squares, rel=1e-4)}


class _Shares(Penalty):
    """A penalty of 0 that keeps the share of each context."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def penalty(self, context: RegularizerContext) -> Tensor:
        self.seen.append(context.share)
        return torch.zeros(())


@pytest.mark.parametrize(("chunks", "rows"), [(1, [7]), (3, [3, 2, 2])])
def test_a_penalty_knows_what_part_of_a_tasks_rows_it_sees(chunks: int, rows: list[int]) -> None:
    model, penalty = network(), _Shares()
    own = Attached(Norm(over="head", tasks=("sst",)), penalty)
    Step(model, TinyRows(dict.fromkeys(TASKS, 12)), built("sum"), None, [own], accumulate=chunks,
         tasks=TASKS)(step_rows({"sst": 7, "sts": 3}), 0)
    assert penalty.seen == pytest.approx([count / 7 for count in rows])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_clipping_bounds_the_norm_of_everything_and_tells_the_norm_before(accumulate: int) -> None:
    counts = {"sst": 5, "quora": 4}
    free, _ = computed("automatic", counts)
    norm = math.sqrt(sum(value.double().square().sum().item() for value in free.values()))
    model, module = network(), built("automatic")
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, tasks=TASKS, clip=0.1,
                accumulate=accumulate)
    assert step(step_rows(counts), 0).norm == pytest.approx(norm, rel=1e-4)
    clipped = gradients_of(model, module)
    assert math.sqrt(sum(value.square().sum().item() for value in clipped.values())) == pytest.approx(
        0.1, rel=1e-3)
    same(clipped, {name: value * 0.1 / norm for name, value in free.items()})


class _Broken(Regularizer):
    """A penalty of 0 whose gradient is not a number: the slope of a root at 0."""

    name = "broken"

    def __init__(self, scope: str) -> None:
        self.own, self.weight, self.tasks = scope, 1.0, None

    @property
    def scope(self) -> Any:
        return self.own


class _Root(Penalty):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = (model,)

    def penalty(self, context: RegularizerContext) -> Tensor:
        return (self.model[0].encoder.layers[0].up.bias * 0).sum().sqrt()  # type: ignore[no-any-return, union-attr, index]


@pytest.mark.parametrize("scope", ["task", "step"])
@pytest.mark.parametrize("surgery", [None, PCGrad()], ids=["joint", "pcgrad"])
def test_a_gradient_that_is_not_a_number_shows_in_the_norm_though_all_losses_are_finite(
    scope: str, surgery: PCGrad | None
) -> None:
    model, module = network(), built("sum")
    broken = Attached(_Broken(scope), _Root(model))
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, surgery, [broken], tasks=TASKS)
    record = step(step_rows({"sst": 5, "sts": 3}), 0)
    assert all(map(math.isfinite, [*record.losses.values(), *record.penalties.values()]))
    assert math.isnan(record.norm)


def test_the_losses_of_the_same_rows_under_other_weights() -> None:
    model, module = network(), built("sum")
    step = Step(model, TinyRows(dict.fromkeys(TASKS, 12)), module, tasks=TASKS)
    rows = step_rows({"sst": 5, "sts": 3})
    before = step(rows, 0).losses
    again = {task: value.item() for task, value in step.losses_again(rows).items()}
    assert again == pytest.approx(before, rel=1e-5)
    randomize(model, "task_heads.sst")
    after = step.losses_again(rows)
    assert after["sts"].item() == pytest.approx(before["sts"], rel=1e-5)
    assert abs(after["sst"].item() - before["sst"]) > 1e-3
    assert not after["sst"].requires_grad


def test_word_rows_that_no_text_has_get_no_gradient() -> None:
    model, module, rows = network(), built("sum"), TinyRows(dict.fromkeys(TASKS, 12))
    Step(model, rows, module, tasks=TASKS)(step_rows({"sst": 2}), 0)
    used = {int(i) for row in range(2) for i in rows.ids["sst"][row]}
    moved = {int(i) for i in model.encoder.embeddings.word.weight.grad.abs().sum(1).nonzero()}
    assert moved == used


def test_the_passes_that_a_penalty_perturbs_are_float32() -> None:
    """Noise of 1e-5 moves an output by less than bf16 rounds it, so that its ascent would be chance."""
    made = {}
    for rounds in (False, True):
        model, rows = network(), TinyRows({"sst": 4, "quora": 4, "sts": 4})
        smart = attach(SMART(tasks=("sst",), bregman=1.0), model)
        step = Step(model, rows, built("sum"), regularizers=[smart],
                    autocast=lambda on=rounds: torch.autocast("cpu", torch.bfloat16, enabled=on))
        torch.manual_seed(5)
        made[rounds] = step([TaskRows(task, np.arange(4)) for task in ("sst", "quora")], 0)
    assert made[True].losses["sst"] == made[False].losses["sst"]
    assert made[True].penalties == made[False].penalties
    assert made[True].losses["quora"] != made[False].losses["quora"]


def test_heads_answer_in_float32_under_autocast() -> None:
    model = network()
    pooled = torch.randn(4, model.encoder.width)
    with torch.autocast("cpu", torch.bfloat16):
        answered = model.from_pooled("sst", pooled.bfloat16()).field("logits")
    assert answered.dtype == torch.float32
    assert torch.equal(answered, model.from_pooled("sst", pooled.bfloat16().float()).field("logits"))
