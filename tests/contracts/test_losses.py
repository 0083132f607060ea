"""What every registered loss promises, for every kind of labels that it serves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from polytask.core.registry import Family
from polytask.core.settings import to_table
from polytask.data.labels import Labels
from polytask.losses.contract import Loss, LossContext, total
from polytask.model.output import Output

FAMILY = Family.all["losses"]
ROWS, WIDTH = 8, 6
KINDS = {
    "classes": Labels("classes", ("0", "1", "2", "3", "4")),
    "ordinal": Labels("ordinal", ("bad", "fair", "good")),
    "binary": Labels("binary", ("no", "yes")),
    "regression": Labels("regression", low=0, high=5),
    "regression, raw": Labels("regression", low=0, high=5, unit=False),
    "multi-label": Labels("multi-label", ("a", "b", "c")),
}
COUNTS = {"classes": [9, 8, 7, 6, 5], "ordinal": [9, 8, 7], "binary": [9, 8],
          "multi-label": [4, 4, 4]}
SERVED = [(FAMILY.members[name](), kind) for name in sorted(FAMILY.members) for kind in KINDS
          if FAMILY.members[name]().problem(LossContext(KINDS[kind])) is None]
Served = tuple[Loss, Labels]


@pytest.fixture(params=SERVED, ids=lambda s: f"{s[0].name}-{s[1]}")
def served(request: pytest.FixtureRequest) -> Served:
    chosen, kind = request.param
    labels = KINDS[kind]
    return chosen.prepared(labels, COUNTS.get(kind)), labels


def targets(labels: Labels) -> Tensor:
    """Targets with every class, and with several positives and negatives."""
    if labels.kind == "multi-label":
        return (torch.arange(ROWS * 3).view(ROWS, 3) % 2).float()
    if labels.is_regression:
        return labels.scaled(torch.tensor([0.0, 5, 0, 5, 5, 0, 5, 0]))
    return torch.arange(ROWS) % labels.num_classes


def leaves(chosen: Loss, labels: Labels) -> Output:
    """A random output, each field of which wants a gradient."""
    outputs = chosen.outputs(labels) or 1
    shape = (ROWS,) if outputs == 1 else (ROWS, outputs)
    return Output(u=torch.randn(ROWS, WIDTH, requires_grad=True),
                  v=torch.randn(ROWS, WIDTH, requires_grad=True),
                  logits=torch.randn(shape, requires_grad=True),
                  score=torch.randn(ROWS, requires_grad=True))


def answer(chosen: Loss, labels: Labels, target: Tensor, right: bool) -> Output:
    """The output of a model that is right about every row, or wrong about every row."""
    span = labels.high - labels.low if labels.is_regression and not labels.unit else 1
    unit = target / span
    if chosen.input_field == "pair":
        # Right: u meets v where the label says so, and no other row's.
        u = torch.eye(ROWS)
        alike = (unit > 0.5)[:, None]
        return Output(u=u, v=torch.where(alike == right, u, -u))
    if chosen.input_field == "score":
        return Output(score=target.float() if right else (span - target).float())
    if labels.kind == "multi-label" or chosen.outputs(labels) == 1:
        sign = 2 * target.float() - 1
        return Output(logits=4 * (sign if right else -sign))
    said = target if right else (target + 1) % labels.num_classes
    return Output(logits=4 * torch.nn.functional.one_hot(said, labels.num_classes).float())


def each_field(output: Output, changed: Callable[[Tensor], Tensor]) -> Output:
    return Output(**{name: changed(x) for name in ("u", "v", "logits", "score")
                     if (x := getattr(output, name)) is not None})


def fields(chosen: Loss, output: Output) -> tuple[Tensor, ...]:
    if chosen.input_field == "pair":
        return output.field("u"), output.field("v")
    return (output.field(chosen.input_field),)


def test_every_loss_serves_something() -> None:
    assert {chosen.reference for chosen, _ in SERVED} == set(FAMILY.members)


def test_is_one_finite_number_with_a_gradient(served: Served) -> None:
    chosen, labels = served
    output = leaves(chosen, labels)
    loss = chosen(output, targets(labels))
    assert loss.shape == () and loss.isfinite() and loss.dtype == torch.float32
    for grad in torch.autograd.grad(loss, fields(chosen, output)):
        assert grad.isfinite().all() and grad.abs().sum() > 0


def test_reads_what_it_says_it_needs_and_nothing_else(served: Served) -> None:
    chosen, labels = served
    output = leaves(chosen, labels)
    chosen(output, targets(labels)).backward()
    needed = {id(x) for x in fields(chosen, output)}
    for x in (output.u, output.v, output.logits, output.score):
        assert (x.grad is not None) == (id(x) in needed)


def test_the_order_of_the_rows_changes_nothing(served: Served) -> None:
    chosen, labels = served
    output, target, order = leaves(chosen, labels), targets(labels), torch.randperm(ROWS)
    torch.testing.assert_close(chosen(output[order], target[order]), chosen(output, target))


def test_is_lower_on_the_right_answer(served: Served) -> None:
    chosen, labels = served
    target = targets(labels)
    right = chosen(answer(chosen, labels, target, True), target)
    wrong = chosen(answer(chosen, labels, target, False), target)
    assert 0 <= right < wrong


def test_a_step_down_the_gradient_lowers_it(served: Served) -> None:
    chosen, labels = served
    output, target = leaves(chosen, labels), targets(labels)
    before = chosen(output, target)
    grads = torch.autograd.grad(before, fields(chosen, output))
    moved = {name: getattr(output, name).detach() for name in ("u", "v", "logits", "score")}
    names = ("u", "v") if chosen.input_field == "pair" else (chosen.input_field,)
    for name, grad in zip(names, grads, strict=True):
        moved[name] = moved[name] - 0.01 * grad
    assert chosen(Output(**moved), target) < before


@pytest.mark.parametrize("size", [1e-6, 1e4])
def test_stays_finite_for_tiny_and_huge_values(served: Served, size: float) -> None:
    chosen, labels = served
    output = each_field(leaves(chosen, labels), lambda x: (x.detach() * size).requires_grad_())
    loss = chosen(output, targets(labels))
    assert loss.isfinite()
    for grad in torch.autograd.grad(loss, fields(chosen, output)):
        assert grad.isfinite().all()


def test_is_computed_in_fp32_also_for_bf16_outputs(served: Served) -> None:
    chosen, labels = served
    small = each_field(leaves(chosen, labels), lambda x: x.detach().bfloat16())
    wide = each_field(small, Tensor.float)
    with torch.autocast("cpu", torch.bfloat16):
        loss = chosen(small, targets(labels))
    assert loss.dtype == torch.float32
    # An autocast matrix product inside a loss would differ by about 2^-8.
    torch.testing.assert_close(loss, chosen(wide, targets(labels)), rtol=1e-5, atol=1e-5)


def test_one_row_is_enough(served: Served) -> None:
    chosen, labels = served
    output = leaves(chosen, labels)
    loss = chosen(output[:1], targets(labels)[:1])
    assert loss.isfinite() and loss.requires_grad


def test_is_weighted_in_a_sum(served: Served) -> None:
    chosen, labels = served
    output, target = leaves(chosen, labels), targets(labels)
    doubled = FAMILY.read({**to_table(chosen), "weight": 2.0})
    torch.testing.assert_close(total((chosen, doubled), output, target), 3 * chosen(output, target))


def test_a_table_gives_it_back(served: Served) -> None:
    chosen, _ = served
    assert FAMILY.read(to_table(chosen)) == chosen
