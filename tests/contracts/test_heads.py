"""What every registered head promises, for every kind of labels that it serves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from networks import tiny_bert
from polytask.core.registry import Family
from polytask.data.decisions import Decision
from polytask.data.labels import Labels
from polytask.model.heads.contract import Head, head
from polytask.model.heads.shared import SharedHead
from polytask.model.multitask import MultiTask, build_task_head
from polytask.model.output import Output
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.poolings.mean import Mean


@head
class Common(Head):
    """A shared layer of a name of its own, as a user's head has it: no field of it names the layer."""

    def shared_layers(self, width: int) -> dict[str, tuple[int, ...]]:
        return {"common": (width, 6)}

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        if "common" not in shared:
            shared["common"] = nn.Linear(width, 6)
        return SharedHead(shared["common"], nn.Identity(), nn.Linear(6, outputs))


MEMBERS = Family.all["heads"].members
ROWS, WIDTH = 7, 8
KINDS = {
    "classes": (Labels("classes", ("a", "b", "c")), 3),
    "ordinal": (Labels("ordinal", ("a", "b", "c")), 3),
    "binary": (Labels("binary", ("no", "yes")), 1),
    "binary, two logits": (Labels("binary", ("no", "yes")), 2),
    "regression": (Labels("regression", low=1, high=5), 1),
    "regression, raw": (Labels("regression", low=1, high=5, unit=False), 1),
    "multi-label": (Labels("multi-label", ("a", "b", "c", "d")), 4),
}
SERVED = [(MEMBERS[name](), *KINDS[kind]) for name in sorted(MEMBERS) for kind in KINDS
          if MEMBERS[name]().problem(KINDS[kind][0]) is None
          and (KINDS[kind][1] == 1 or MEMBERS[name]().input_field == "vector")]


@pytest.fixture(params=SERVED, ids=lambda s: f"{s[0].name}-{s[1].kind}-{s[2]}")
def served(request: pytest.FixtureRequest) -> tuple[Head, Labels, int]:
    return request.param


def rows() -> Output:
    return Output(u=torch.randn(ROWS, WIDTH), v=torch.randn(ROWS, WIDTH),
                  vector=torch.randn(ROWS, WIDTH))


def answered(head: Head, module: nn.Module, labels: Labels, output: Output) -> Output:
    return output.with_values(head.output_field(labels.kind), module(output))


def test_every_head_serves_something() -> None:
    assert {head.reference for head, _, _ in SERVED} == set(MEMBERS)


def test_gives_its_outputs_for_each_row(served: tuple[Head, Labels, int]) -> None:
    head, labels, outputs = served
    values = head.build(WIDTH, outputs, nn.ModuleDict())(rows())
    assert values.shape == ((ROWS,) if outputs == 1 else (ROWS, outputs))
    assert values.isfinite().all()
    assert head.output_field(labels.kind) in ("logits", "score")


def test_a_row_is_answered_by_itself(served: tuple[Head, Labels, int]) -> None:
    head, _, outputs = served
    module = head.build(WIDTH, outputs, nn.ModuleDict()).eval()
    output, order = rows(), torch.randperm(ROWS)
    torch.testing.assert_close(module(output[order]), module(output)[order])


def test_the_gradient_reaches_what_it_needs_and_all_its_parameters(
    served: tuple[Head, Labels, int]
) -> None:
    head, _, outputs = served
    shared = nn.ModuleDict()
    module = head.build(WIDTH, outputs, shared)
    output = rows()
    needed = [output.u, output.v] if head.input_field == "pair" else [output.vector]
    for each in needed:
        each.requires_grad_()
    module.eval()(output).square().sum().backward()
    for each in [*needed, *module.parameters(), *shared.parameters()]:
        assert each.grad is not None and each.grad.isfinite().all()
    assert all(each.grad.abs().sum() > 0 for each in needed)


def test_a_shared_layer_is_one_that_it_names_and_is_reached_by_its_tasks(
    served: tuple[Head, Labels, int]
) -> None:
    chosen, labels, outputs = served
    shared = nn.ModuleDict()
    encoder, tasks = tiny_bert(), ("a", "b")
    model = MultiTask(encoder, {task: build_task_head(encoder, Mean(), BiEncoder(), chosen, labels, outputs,
                                                      shared) for task in tasks}, shared)
    width = BiEncoder().width(encoder.width)
    sizes = {name: (layer.in_features, layer.out_features) for name, layer in shared.items()}
    assert sizes == chosen.shared_layers(width)
    assert all(model.reached_by(f"shared.{name}.weight", tasks) == set(tasks) for name in shared)


def test_decides_labels_that_there_are(served: tuple[Head, Labels, int]) -> None:
    head, labels, outputs = served
    module = head.build(WIDTH, outputs, nn.ModuleDict()).eval()
    decision = head.decide(answered(head, module, labels, rows()), labels)
    assert isinstance(decision, Decision) and len(decision.labels) == len(decision.scores) == ROWS
    assert np.isfinite(decision.scores).all()
    if labels.is_regression:
        assert decision.labels.min() >= labels.low and decision.labels.max() <= labels.high
        return
    assert decision.labels.dtype == np.int64
    several = labels.kind == "multi-label"
    assert decision.labels.shape == ((ROWS, labels.num_classes) if several else (ROWS,))
    assert set(np.unique(decision.labels)) <= set(range(2 if several else labels.num_classes))
    if decision.probabilities is not None:
        assert decision.probabilities.shape == (ROWS, labels.num_classes)
        assert (decision.probabilities >= 0).all() and (decision.probabilities <= 1).all()
        if not several:
            np.testing.assert_allclose(decision.probabilities.sum(1), 1, rtol=1e-6)


def test_works_under_bf16(served: tuple[Head, Labels, int]) -> None:
    head, labels, outputs = served
    module = head.build(WIDTH, outputs, nn.ModuleDict())
    with torch.autocast("cpu", torch.bfloat16):
        output = answered(head, module, labels, rows())
    assert np.isfinite(head.decide(output, labels).scores).all()


def test_the_same_state_gives_the_same_answers(served: tuple[Head, Labels, int]) -> None:
    head, _, outputs = served
    first, second = nn.ModuleDict(), nn.ModuleDict()
    one, two = (head.build(WIDTH, outputs, shared).eval() for shared in (first, second))
    two.load_state_dict(one.state_dict())
    second.load_state_dict(first.state_dict())
    output = rows()
    assert torch.equal(one(output), two(output))
