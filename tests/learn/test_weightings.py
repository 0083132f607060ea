"""Weightings against their closed forms: values, gradients, and where what they learn ends."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.core.errors import ConfigError, MissingExtra, UnknownName
from polytask.core.settings import to_table
from polytask.learn.checkpoint import pack, unpack
from polytask.learn.weightings.contract import WeightingModule, weighting

TASKS = ("sst", "quora", "sts")
KINDS = {"sst": "ordinal", "quora": "binary", "sts": "regression"}
LOSSES = {"sst": 1.6, "quora": 0.7, "sts": 0.09}


def module(table: Any) -> WeightingModule:
    built = weighting.read(table).build(TASKS, KINDS)
    assert isinstance(built, WeightingModule)
    return built


def leaves(losses: Mapping[str, float] = LOSSES) -> dict[str, Tensor]:
    return {task: torch.tensor(loss, requires_grad=True) for task, loss in losses.items()}


# name, (loss, learned, kind) -> value, d/dloss, d/dlearned; the learned number at the start
Form = Callable[[float, float, str], tuple[float, float, float]]


def kendall_factor(kind: str) -> float:
    return 0.5 if kind == "regression" else 1.0


FORMS: dict[str, tuple[Form, float]] = {
    "learnable": (lambda x, w, kind: (w * x, w, x), 1.0),
    "uncertainty": (
        lambda x, w, kind: (math.exp(-w) * x + w, math.exp(-w), 1 - math.exp(-w) * x), 0.0),
    "homoscedastic": (
        lambda x, s, kind: (x / math.exp(s) + math.log(math.sqrt(math.exp(s))), math.exp(-s),
                            0.5 - x * math.exp(-s)), 0.0),
    "automatic": (
        lambda x, c, kind: (x / (2 * c * c) + math.log(1 + c * c), 1 / (2 * c * c),
                            -x / c**3 + 2 * c / (1 + c * c)), 1.0),
    "kendall": (
        lambda x, s, kind: (kendall_factor(kind) * x / math.exp(s) + s / 2,
                            kendall_factor(kind) / math.exp(s),
                            0.5 - kendall_factor(kind) * x / math.exp(s)), 0.0),
}


@pytest.mark.technique("M-18", "S-8", "S-9", "S-10")
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("moved", [0.0, 0.4, -0.3])
def test_values_and_gradients_are_those_of_the_closed_form(name: str, moved: float) -> None:
    form, start = FORMS[name]
    built, losses = module(name), leaves()
    with torch.no_grad():
        for learned in built.parameters():
            assert learned.item() == start
            learned += moved
    weighted = built(losses)
    sum(weighted.values()).backward()
    for task, learned in zip(TASKS, built.parameters(), strict=True):
        value, by_loss, by_learned = form(LOSSES[task], start + moved, KINDS[task])
        assert weighted[task].item() == pytest.approx(value, rel=1e-5)
        assert losses[task].grad is not None
        assert learned.grad is not None
        assert losses[task].grad.item() == pytest.approx(by_loss, rel=1e-5)
        assert learned.grad.item() == pytest.approx(by_learned, rel=1e-5, abs=1e-6)


@pytest.mark.technique("M-17", "T-19", "T-20")
def test_sum_and_fixed() -> None:
    assert {task: loss.item() for task, loss in module("sum")(leaves()).items()} == pytest.approx(
        LOSSES)
    fixed = {"type": "fixed", "weights": {"sst": 0.1, "sts": 0.2}}  # triple-threat's (0.1, 1, 0.2)
    assert {task: loss.item() for task, loss in module(fixed)(leaves()).items()} == pytest.approx(
        {"sst": 0.16, "quora": 0.7, "sts": 0.018})


def settled(name: str, losses: Mapping[str, float]) -> dict[str, float]:
    """σ of each task after the weighting has learned from losses that stay."""
    built = module(name)
    optimizer = torch.optim.Adam(built.parameters(), lr=0.1)
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / 400)
        optimizer.zero_grad()
        sum(built({task: torch.tensor(loss) for task, loss in losses.items()}).values()).backward()
        optimizer.step()
    return built.report()["sigma"]


@pytest.mark.parametrize(("name", "variance"), [
    # where the derivative by σ² is 0: x / (2 σ⁴) = 1 / (1 + σ²), so 2 σ⁴ - x σ² - x = 0
    ("automatic", lambda x, kind: (x + math.sqrt(x * x + 8 * x)) / 4),
    ("uncertainty", lambda x, kind: x),
    ("homoscedastic", lambda x, kind: 2 * x),
    ("kendall", lambda x, kind: x if kind == "regression" else 2 * x),
])
def test_sigma_goes_to_its_optimum(name: str, variance: Callable[[float, str], float]) -> None:
    for task, sigma in settled(name, LOSSES).items():
        assert sigma**2 == pytest.approx(variance(LOSSES[task], KINDS[task]), rel=1e-3)


def test_uncertainty_is_twice_kendalls_regression() -> None:
    losses = {"sts": torch.tensor(0.3)}
    ours, theirs = module("uncertainty"), module("kendall")
    with torch.no_grad():
        for each in (*ours.parameters(), *theirs.parameters()):
            each.fill_(0.7)
    assert ours(losses)["sts"].item() == pytest.approx(2 * theirs(losses)["sts"].item())


def test_a_task_absent_from_a_step_keeps_its_weight() -> None:
    built = module("automatic")
    optimizer = torch.optim.AdamW(built.parameters(), lr=0.1)
    for present in (TASKS, ("quora",), ("quora",)):
        before = built.report()["sigma"]
        optimizer.zero_grad(set_to_none=True)
        sum(built(leaves(dict.fromkeys(present, 1.0))).values()).backward()
        optimizer.step()
        after = built.report()["sigma"]
        assert {task for task in TASKS if before[task] != after[task]} == set(present)


# ---- torchjd

SCALARIZERS: list[Any] = [
    "torchjd:Sum", "torchjd:Mean", "torchjd:GeometricMean", "torchjd:UW", "torchjd:IMTLL",
    "torchjd:DWA", "torchjd:FAMO", {"type": "torchjd:STCH", "mu": 0.5},
    {"type": "torchjd:STCH", "mu": 0.5, "weights": {"sst": 0.5, "quora": 0.3, "sts": 0.2}},
    {"type": "torchjd:PBI", "theta": 2.0, "weights": [0.5, 0.3, 0.2]},
    {"type": "torchjd:COSMOS", "lambda_": 1.0, "weights": [0.5, 0.3, 0.2]},
    {"type": "torchjd:Constant", "weights": {"sts": 0.2, "sst": 0.5, "quora": 0.3}},
]


@pytest.fixture
def torchjd() -> Any:
    return pytest.importorskip("torchjd.scalarization")


def direct(torchjd: Any, table: Any) -> Any:
    """The scalarizer itself, built by hand."""
    fields = dict(table) if isinstance(table, dict) else {"type": table}
    cls = getattr(torchjd, fields.pop("type").removeprefix("torchjd:"))
    if isinstance(fields.get("weights"), dict):
        fields["weights"] = [fields["weights"][task] for task in TASKS]
    if "weights" in fields:
        fields["weights"] = torch.tensor(fields["weights"])
    return cls(3, **fields) if cls.__name__ in ("UW", "IMTLL", "FAMO") else cls(**fields)


@pytest.mark.parametrize("table", SCALARIZERS, ids=str)
def test_the_terms_of_a_scalarizer_add_up_to_it(torchjd: Any, table: Any) -> None:
    scalarizer = direct(torchjd, table)
    values = torch.tensor(list(LOSSES.values()), requires_grad=True)
    value = scalarizer(values)
    value.backward()
    built, losses = module(table), leaves()
    weighted = built(losses)
    assert sum(weighted.values()).item() == pytest.approx(value.item(), rel=1e-5)
    # One backward a task, as under surgery: each gives its own share of the gradient.
    for index, task in enumerate(TASKS):
        weighted[task].backward(retain_graph=index < 2)
        assert losses[task].grad is not None
        assert values.grad is not None
        assert losses[task].grad.item() == pytest.approx(values.grad[index].item(), rel=1e-4)
    for ours, theirs in zip(built.parameters(), scalarizer.parameters(), strict=True):
        assert (ours.grad is None and theirs.grad is None) or torch.allclose(ours.grad, theirs.grad)
    assert built.report()["weight"] == pytest.approx(
        dict(zip(TASKS, values.grad.tolist(), strict=True)), rel=1e-4)


def walk(built: WeightingModule, steps: range) -> list[dict[str, float]]:
    """Losses that change, an epoch of three steps, and what the weighting makes of them."""
    seen = []
    for step in steps:
        torch.manual_seed(step)
        losses = {task: torch.rand(()) + 0.1 for task in TASKS}
        weighted = built(losses)
        seen.append({task: loss.item() for task, loss in weighted.items()})
        built.after_step({task: loss * 0.9 for task, loss in losses.items()})
        if step % 3 == 2:
            built.after_epoch()
    return seen


@pytest.mark.parametrize("table", SCALARIZERS, ids=str)
@pytest.mark.parametrize("cut", [0, 4, 6, 10])
def test_a_scalarizer_continues_from_its_state(torchjd: Any, table: Any, cut: int) -> None:
    whole, first, second = module(table), module(table), module(table)
    expected = walk(whole, range(14))
    done = walk(first, range(cut))
    tensors: dict[str, Tensor] = {}
    skeleton = pack(dict(first.state_dict()), tensors)
    second.load_state_dict(unpack(skeleton, tensors))
    assert done + walk(second, range(cut, 14)) == expected
    if table in ("torchjd:DWA", "torchjd:FAMO"):
        forgetful = module(table)
        walk(forgetful, range(0))
        assert cut == 0 or walk(forgetful, range(cut, 14)) != expected[cut:], "it has no memory"


def test_famo_asks_for_the_losses_after_the_step(torchjd: Any) -> None:
    assert module("torchjd:FAMO").wants_new_losses
    assert not module("torchjd:DWA").wants_new_losses
    own = weighting.read({"type": "torchjd:FAMO", "lr": 0.5})
    assert own.build(TASKS, KINDS).scalarizer.lr == 0.5
    assert to_table(own) == {"type": "torchjd:FAMO", "lr": 0.5}


@pytest.mark.parametrize(("table", "said"), [
    ("torchjd:DAW", 'is not a scalarizer of torchjd; did you mean "torchjd:DWA"?'),
    ({"type": "torchjd:DWA", "temprature": 1}, 'temprature is not an option; did you mean "temp'),
    ("torchjd:STCH", 'the option mu is missing'),
])
def test_unknown_rules_and_options_are_refused(torchjd: Any, table: Any, said: str) -> None:
    with pytest.raises(Exception, match=said.replace("?", r"\?")):
        weighting.read(table)


def test_a_rule_that_does_not_fit_the_tasks_is_a_problem(torchjd: Any) -> None:
    def said(table: Any, min_tasks_per_step: int | None = None) -> str:
        return weighting.read(table).problem(TASKS, min_tasks_per_step) or ""

    assert "lacks the task" in said({"type": "torchjd:Constant", "weights": {"sst": 1}})
    assert 'did you mean "quora"?' in said({"type": "torchjd:Constant", "weights": {"quor": 1}})
    assert "shape" in said({"type": "torchjd:Constant", "weights": [1, 2]})
    assert "non-negative" in said({"type": "torchjd:PBI", "theta": -1, "weights": [1, 1, 1]})
    assert "every task in every step" in said("torchjd:DWA", min_tasks_per_step=1)
    assert said("torchjd:DWA", min_tasks_per_step=3) == said("torchjd:Sum", min_tasks_per_step=1) == ""


def test_without_torchjd_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("torchjd"):
            raise ModuleNotFoundError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtra, match=r'pip install "polytask\[torchjd\]"'):
        weighting.members["torchjd"](rule="DWA")
    with pytest.raises(Exception, match=r'pip install "polytask\[torchjd\]"'):
        weighting.read("torchjd:DWA")


# ---- settings

def test_weights_of_unknown_tasks_are_refused_with_the_nearest() -> None:
    fixed = weighting.read({"type": "fixed", "weights": {"quorra": 1.0}})
    assert fixed.problem(TASKS) == (
        'weighting "fixed" names "quorra", which is not a task here; did you mean "quora"?')


@pytest.mark.parametrize("weight", [-0.1, math.inf, math.nan])
def test_weights_that_are_not_weights_are_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"expected (0 or more|a finite number)"):
        weighting.members["fixed"](weights={"sst": weight})


def test_an_unknown_rule_is_an_unknown_name(torchjd: Any) -> None:
    with pytest.raises(UnknownName):
        weighting.members["torchjd"](rule="Nothing")
