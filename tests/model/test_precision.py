"""Which numbers a pass is computed in, in training and after it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import TinyRows, tiny_model
from polytask.core.settings import from_table
from polytask.inference.forward import autocast_of
from polytask.learn.train_settings import Train
from polytask.learn.trainer import Score, Trainer
from polytask.model import precision as precisions
from polytask.model.precision import inference_autocast, training_autocast


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose GPU has bf16; `torch.autocast("cuda")` itself needs none."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def of(context: object) -> object:
    return context.fast_dtype if isinstance(context, torch.autocast) and context._enabled else None


@pytest.mark.parametrize(("precision", "training", "inference"), [
    ("auto", torch.bfloat16, torch.bfloat16), ("bf16", torch.bfloat16, torch.bfloat16),
    ("fp32", None, None), ("tf32", None, None),
])
@pytest.mark.usefixtures("gpu")
def test_a_gpu_computes_as_requested(precision: str, training: object, inference: object) -> None:
    assert of(training_autocast("cuda", precision)) == training  # type: ignore[arg-type]
    assert of(inference_autocast("cuda", precision)) == inference  # type: ignore[arg-type]


def test_a_gpu_that_only_holds_bf16_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported",
                        lambda including_emulation=True: including_emulation)
    assert of(training_autocast("cuda", "auto")) is None
    assert of(inference_autocast("cuda", "auto")) is None


@pytest.mark.parametrize(("precision", "able", "expected"), [
    ("bf16", True, torch.bfloat16), ("bf16", False, None), ("auto", True, None), ("fp32", True, None),
    ("tf32", True, None),
])
def test_a_cpu_that_multiplies_bf16_computes_updates_in_it_if_asked(
        precision: str, able: bool, expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "multiplies_bf16", lambda: able)
    assert of(training_autocast("cpu", precision)) == expected  # type: ignore[arg-type]
    assert of(inference_autocast("cpu", precision)) is None  # type: ignore[arg-type]
    model, during, evaluated = tiny_model(), [], []
    plain = model.encoder.forward

    def forward(*given: object) -> torch.Tensor:
        during.append(torch.is_autocast_enabled("cpu"))
        return plain(*given)  # type: ignore[arg-type]

    def evaluate() -> Score:
        evaluated.append(torch.is_autocast_enabled("cpu"))
        return Score(0.5, {})

    monkeypatch.setattr(model.encoder, "forward", forward)
    train = from_table(Train, {"epochs": 1, "precision": precision}, "")
    rows = TinyRows({"sst": 4, "quora": 4, "sts": 4})
    list(Trainer(model, rows, train, 0, evaluate, lambda where: None).run())
    assert set(during) == {expected is not None}
    assert set(evaluated) == {False}


def test_the_matrix_products_of_a_phase_are_tf32_where_it_says_so_and_nowhere_else() -> None:
    products, seen = torch.backends.cuda.matmul, []

    def evaluate() -> Score:
        seen.append(products.fp32_precision)
        return Score(0.5, {})

    before = products.fp32_precision
    train = from_table(Train, {"epochs": 1, "phases": [{"precision": "tf32"}, {"precision": "auto"}]}, "")
    rows = TinyRows({"sst": 4, "quora": 4, "sts": 4})
    list(Trainer(tiny_model(), rows, train, 0, evaluate, lambda where: None).run())
    assert seen == ["tf32", "ieee"]
    assert products.fp32_precision == before
    assert before not in seen  # or it would not show that the switch is put back


def test_the_training_tells_its_model_what_to_be_evaluated_in() -> None:
    model, seen = tiny_model(), []

    def evaluate() -> Score:
        seen.append(model.precision)
        return Score(0.5, {})

    train = from_table(Train, {"epochs": 1, "phases": [{"precision": "fp32"}, {"precision": "auto"}]}, "")
    rows = TinyRows({"sst": 4, "quora": 4, "sts": 4})
    list(Trainer(model, rows, train, 0, evaluate, lambda where: None).run())
    assert seen == ["fp32", "auto"]
    with autocast_of(model):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
