"""Heads: the layers they are made of, what they share, and what they decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from polytask.core.errors import ConfigError
from polytask.data.labels import Labels
from polytask.model.dropout import Dropout
from polytask.model.heads.cosine import Cosine
from polytask.model.heads.decisions import _choice, fit_f1_threshold, fit_threshold
from polytask.model.heads.linear import Linear
from polytask.model.heads.mlp import MLP
from polytask.model.heads.shared import Shared
from polytask.model.output import Output

FIVE = Labels("classes", ("0", "1", "2", "3", "4"))
TWO = Labels("binary", ("no", "yes"))
STARS = Labels("regression", low=0, high=5)


@pytest.mark.technique("M-3", "S-5", "G-13")
def test_linear_is_a_product_after_dropout() -> None:
    module = Linear(dropout=0.3).build(8, 5, nn.ModuleDict()).eval()
    drop, dense = module.layers
    x = torch.randn(3, 8)
    torch.testing.assert_close(module(Output(vector=x)), x @ dense.weight.T + dense.bias)
    assert isinstance(drop, Dropout) and drop.p == 0.3


@pytest.mark.technique("G-10", "G-12", "T-29")
@pytest.mark.parametrize(("name", "sigma"), [
    ("relu", functional.relu), ("leaky_relu", functional.leaky_relu), ("gelu", functional.gelu),
    ("tanh", torch.tanh),
])
def test_mlp_is_two_products_with_an_activation_between(name: str, sigma: object) -> None:
    module = MLP(hidden=7, activation=name).build(8, 5, nn.ModuleDict()).eval()
    first, second = (each for each in module.layers if isinstance(each, nn.Linear))
    x = torch.randn(3, 8)
    expected = second(sigma(first(x)))  # type: ignore[operator]
    torch.testing.assert_close(module(Output(vector=x)), expected)
    assert (first.in_features, first.out_features, second.out_features) == (8, 7, 5)


@pytest.mark.technique("G-13", "G-14")
@pytest.mark.parametrize(("given_", "expected"),
                         [(None, [0.5, 0.5]), (0.25, [0.5, 0.25]), (0.0, [0.5, 0.0])])
@pytest.mark.parametrize("head", [MLP, Shared])
def test_each_of_two_layers_has_its_dropout(head: type, given_: float | None,
                                            expected: list[float]) -> None:
    module = head(dropout=0.5, hidden_dropout=given_).build(8, 2, nn.ModuleDict())
    assert [each.p for each in module.modules() if isinstance(each, Dropout)] == expected


@pytest.mark.parametrize("head", [Linear(dropout=0.9), MLP(dropout=0.9, hidden_dropout=0.0),
                                  Shared(dropout=0.9, hidden_dropout=0.0)], ids=lambda o: o.name)
def test_dropout_acts_before_the_layer_and_in_training_only(head: Linear | MLP | Shared) -> None:
    module = head.build(200, 1, nn.ModuleDict())
    vector = torch.ones(1, 200)
    same = [module.train()(Output(vector=vector)).item() for _ in range(8)]
    assert len(set(same)) > 1
    assert module.eval()(Output(vector=vector)).item() == module(Output(vector=vector)).item()


def test_one_output_has_no_dimension_of_its_own() -> None:
    for head in (Linear(), MLP(), Shared()):
        assert head.build(8, 1, nn.ModuleDict())(Output(vector=torch.randn(3, 8))).shape == (3,)


@pytest.mark.technique("M-12", "S-15")
def test_a_shared_layer_is_built_once_and_trained_by_every_task() -> None:
    shared = nn.ModuleDict()
    a = Shared(hidden=6).build(8, 3, shared)
    kept = shared["shared"]
    b = Shared(hidden=6).build(8, 1, shared)
    other = Shared(layer="other", hidden=6).build(8, 1, shared)
    assert list(shared) == ["shared", "other"] and shared["shared"] is kept
    assert not any(key.startswith("_first") for key in a.state_dict())

    x = Output(vector=torch.randn(4, 8))
    a.eval()(x).sum().backward()
    alone = kept.weight.grad.clone()
    b.eval()(x).sum().backward()
    assert not torch.equal(alone, kept.weight.grad)
    assert shared["other"].weight.grad is None
    other.eval()(x).sum().backward()
    assert shared["other"].weight.grad is not None


@pytest.mark.technique("M-12", "S-15")
def test_the_shared_head_computes_what_an_mlp_of_the_same_weights_does() -> None:
    shared = nn.ModuleDict()
    ours = Shared(hidden=6, activation="leaky_relu").build(8, 3, shared).eval()
    mlp = MLP(hidden=6, activation="leaky_relu").build(8, 3, nn.ModuleDict()).eval()
    mlp.layers[1].load_state_dict(shared["shared"].state_dict())
    mlp.layers[4].load_state_dict(ours.rest[2].state_dict())
    x = Output(vector=torch.randn(4, 8))
    assert torch.equal(ours(x), mlp(x))


def test_a_shared_layer_of_two_widths_is_refused_with_a_remedy() -> None:
    shared = nn.ModuleDict()
    Shared().build(8, 3, shared)
    with pytest.raises(ConfigError, match='layer "shared" is 8 by 256 in another task and 16 by 256 '
                                          "here; give both the same"):
        Shared().build(16, 3, shared)


@pytest.mark.parametrize("layer", ["keys", "a.b", "", "train"])
def test_a_layer_name_that_torch_cannot_take_is_refused(layer: str) -> None:
    with pytest.raises(ConfigError, match=r"is not made of letters|is a name that torch"):
        Shared(layer=layer)


@pytest.mark.parametrize(("head", "field", "value"), [
    (Linear, "dropout", 1.0), (Linear, "dropout", -0.1), (MLP, "hidden_dropout", 1.5),
    (Shared, "dropout", 2), (MLP, "hidden", 0), (Cosine, "epsilon", 0),
])
def test_a_value_out_of_range_is_refused(head: type, field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} found {value}, expected"):
        head(**{field: value})


@pytest.mark.technique("M-9", "P-4")
def test_cosine_is_torchs_and_never_leaves_its_range() -> None:
    module = Cosine().build(8, 1, nn.ModuleDict())
    u, v = torch.randn(50, 8) * 1e3, torch.randn(50, 8)
    u[0], v[1] = 0, 0
    u[2], v[3] = v[2] * 7, -u[3]
    score = module(Output(u=u, v=v))
    torch.testing.assert_close(score, nn.CosineSimilarity()(u, v))
    assert score[0] == score[1] == 0
    torch.testing.assert_close(score[2:4], torch.tensor([1.0, -1.0]))
    assert not list(module.parameters())


def test_the_epsilon_of_a_cosine_bounds_its_norms() -> None:
    u, v = torch.randn(20, 8) / 10, torch.randn(20, 8)
    score = Cosine(epsilon=0.5).build(8, 1, nn.ModuleDict())(Output(u=u, v=v))
    norms = u.norm(dim=1).clamp(min=0.5) * v.norm(dim=1).clamp(min=0.5)
    assert (u.norm(dim=1) < 0.5).any()
    torch.testing.assert_close(score, (u * v).sum(1) / norms)


@pytest.mark.technique("M-10")
def test_cosine_sees_the_unit_label_and_decides_in_the_labels_own_range() -> None:
    raw = Labels("regression", low=1, high=5, unit=False)
    assert Cosine().target_labels(raw).scaled(5) == 1
    assert Linear().target_labels(raw) is raw
    output = Output(score=torch.tensor([-0.5, 0.0, 0.25, 1.0]))
    for labels in (raw, Cosine().target_labels(raw)):
        np.testing.assert_allclose(Cosine().decide(output, labels).labels, [1, 1, 2, 5])


def test_cosine_of_two_classes_decides_by_a_threshold() -> None:
    output = Output(score=torch.tensor([-0.2, 0.6, 0.7]))
    assert Cosine().thresholded(TWO) and not Cosine().thresholded(STARS)
    assert Cosine().decide(output, TWO).labels.tolist() == [0, 1, 1]
    decision = Cosine().decide(output, TWO, threshold=0.65)
    assert decision.labels.tolist() == [0, 0, 1] and decision.probabilities is None
    np.testing.assert_allclose(decision.scores, [-0.2, 0.6, 0.7], rtol=1e-6)


def test_cosine_cannot_choose_among_five() -> None:
    assert Cosine().problem(FIVE) == ('head "cosine" gives one number, which cannot choose between 5 '
                                      'classes; use head = "linear"')
    assert Cosine().problem(TWO) is None and Cosine().problem(STARS) is None


@pytest.mark.technique("T-6")
def test_classes_are_decided_by_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2, 1, 0, 0], [3, 0, 0, 0, 0]])
    p = logits.softmax(-1).numpy()
    decision = Linear().decide(Output(logits=logits), FIVE)
    assert decision.labels.tolist() == [1, 0]
    np.testing.assert_allclose(decision.probabilities, p, rtol=1e-6)
    np.testing.assert_allclose(decision.scores, [p[0, 1], p[1, 0]], rtol=1e-6)


@pytest.mark.technique("T-6")
def test_one_logit_is_decided_at_a_half_and_a_tie_is_positive() -> None:
    logits = torch.tensor([-1.0, 0.0, 1.0])
    decision = Linear().decide(Output(logits=logits), TWO)
    assert decision.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(decision.scores, logits.sigmoid().numpy(), rtol=1e-6)
    np.testing.assert_allclose(decision.probabilities.sum(1), 1)
    np.testing.assert_allclose(decision.probabilities[:, 1], decision.scores)


def test_two_logits_are_decided_by_the_larger_and_scored_by_the_positive() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    decision = Linear().decide(Output(logits=logits), TWO)
    assert decision.labels.tolist() == [0, 1]
    np.testing.assert_allclose(decision.scores, logits.softmax(-1)[:, 1].numpy(), rtol=1e-6)


@pytest.mark.technique("S-4")
def test_a_regression_is_mapped_back_and_clipped() -> None:
    output = Output(score=torch.tensor([-0.1, 0.5, 1.4]))
    decision = Linear().decide(output, STARS)
    np.testing.assert_allclose(decision.labels, [0, 2.5, 5])
    np.testing.assert_allclose(decision.scores, [-0.5, 2.5, 7], rtol=1e-6)
    raw = Labels("regression", low=0, high=5, unit=False)
    np.testing.assert_allclose(Linear().decide(output, raw).labels, [0, 0.5, 1.4], rtol=1e-6)


def test_multi_label_decides_each_by_itself() -> None:
    labels = Labels("multi-label", ("a", "b", "c"))
    decision = Linear().decide(Output(logits=torch.tensor([[-1.0, 0.0, 2.0]])), labels)
    assert decision.labels.tolist() == [[0, 1, 1]]
    assert decision.probabilities.shape == (1, 3)


def test_bf16_outputs_are_decided_too() -> None:
    decision = Linear().decide(Output(logits=torch.randn(3, 5).bfloat16().requires_grad_()), FIVE)
    np.testing.assert_allclose(decision.probabilities.sum(1), 1, rtol=1e-6)


@given(st.lists(st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.1, 0.3, 0.9]), st.booleans()),
                min_size=1, max_size=12))
def test_no_threshold_is_better_than_the_fitted_one(rows: list[tuple[float, bool]]) -> None:
    scores, targets = np.array([s for s, _ in rows]), np.array([t for _, t in rows])
    cut = fit_threshold(scores, targets, low=-1.0, usual=None)
    fitted = ((scores >= cut) == targets).mean()
    assert -1 <= cut <= 1
    tried = [((scores >= t) == targets).mean() for t in np.arange(-1.2, 1.2, 0.05)]
    assert fitted == max([*tried, ((scores >= 2) == targets).mean()])


def test_the_threshold_lies_in_the_middle_of_the_widest_gap() -> None:
    fitted = fit_threshold(np.array([0.1, 0.2, 0.6, 0.9]), np.array([0, 0, 1, 1]), usual=None)
    assert fitted == pytest.approx(0.4)
    # 0.1 | 0.5: three right; 0.6 | 0.7: three right; the first gap is wider.
    fitted = fit_threshold(np.array([0.1, 0.5, 0.6, 0.7]), np.array([0, 1, 0, 1]), usual=None)
    assert fitted == pytest.approx(0.3)


@pytest.mark.parametrize(("scores", "targets", "cut"), [
    ([0.2, 0.8], [1, 1], 0.5),  # one answer tunes nothing
    ([0.2, 0.8], [0, 0], 0.5),
    ([1.0, 1.0], [0, 0], 0.5),
    ([0.1, 0.4, 0.9], [0, 0, 1], 0.5),  # as good as any other
    ([0.1, 0.2, 0.3, 0.4], [1, 1, 0, 1], 0.05),
    ([0.6, 0.8, 0.9], [0, 1, 0], 0.7),
    ([0.6, 0.8, 0.9, 0.9], [0, 1, 0, 0], 0.95),
    ([0.6, 0.8, 1.0, 1.0], [0, 1, 0, 0], 0.7),  # no threshold is above 1
    ([0.7] * 4, [1, 0, 0, 0], 0.85),
    ([0.3] * 4, [1, 1, 1, 0], 0.15),
])
def test_a_threshold_is_at_no_score_and_at_a_half_unless_another_is_better(
        scores: list[float], targets: list[int], cut: float) -> None:
    assert fit_threshold(np.array(scores), np.array(targets)) == pytest.approx(cut)


def test_cosines_of_one_class_are_all_decided_so() -> None:
    scores = np.array([-0.2, 0.8])
    assert fit_threshold(scores, np.array([1, 1]), low=-1.0, usual=None) == pytest.approx(-0.6)
    assert fit_threshold(scores, np.array([0, 0]), low=-1.0, usual=None) == pytest.approx(0.9)


@pytest.mark.parametrize(("scores", "targets", "cut"), [
    ([0.9, 0.8, 0.3, 0.1], [1, 1, 0, 0], 0.55),
    ([0.3, 0.2, 0.1], [1, 1, 0], 0.15),
    ([0.4, 0.4, 0.1], [1, 0, 0], 0.25),
    ([0.4, 0.2], [0, 0], 0.5),
    ([0.2, 0.1], [1, 1], 0.05),
])
def test_the_threshold_of_the_best_f1(scores: list[float], targets: list[int], cut: float) -> None:
    assert fit_f1_threshold(np.array(scores), np.array(targets)) == pytest.approx(cut)


def test_the_lowest_cosine_is_above_the_threshold_of_the_best_f1() -> None:
    cosines = np.array([0.9, 0.2, -0.1, -0.4])
    assert fit_f1_threshold(cosines, np.ones(4), low=-1.0) == pytest.approx(-0.7)


def test_each_class_has_its_own_threshold() -> None:
    logits = torch.logit(torch.tensor([[0.6, 0.2], [0.4, 0.1]]))
    labels = Labels("multi-label", ("a", "b"))
    assert _choice(logits, labels, [0.5, 0.15]).labels.tolist() == [[1, 1], [0, 0]]
    assert _choice(logits, labels, None).labels.tolist() == [[1, 0], [0, 0]]
