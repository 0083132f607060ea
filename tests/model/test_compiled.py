"""`train.compile`: the same numbers at any lengths, nothing new in a checkpoint, refused where idle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers

import polytask as pk
from foreign import FLAT
from networks import TinyRows, flat_batch, tiny_bert, tiny_model
from polytask.core.settings import from_table
from polytask.learn.train_settings import Train
from polytask.learn.trainer import Score, Trainer
from polytask.model import bert, compiled, modernbert
from polytask.model.families import build_flat
from polytask.model.flat_config import read_flat
from polytask.model.transformers_encoder import wrap
from polytask.validate import Known, problems

# Torch hides this warning of its own by a hook, which comes too late where warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Compile into graphs that torch itself runs: the code that inductor writes is torch's to test."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()

    def with_counter(dense: Any) -> Any:
        return torch.compile(dense, dynamic=True, backend=counter)

    with_cache = compiled.functools.cache(with_counter)
    for module in (bert, modernbert):
        monkeypatch.setattr(module, "compiled", with_cache)
    yield counter.graphs
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", ["bert", "deberta-v3", "modernbert"])
def test_compiled_layers_give_the_same_states_and_gradients_at_any_length(kind: str,
                                                                        graphs: list[Any]) -> None:
    model_type, sizes = FLAT[kind]
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    encoder = build_flat(read_flat(config.to_dict())).train()
    encoder.set_dropout(0.0)
    batches = [flat_batch({"sst": lengths}) for lengths in ((4, 11, 1), (7, 7), (3, 19, 2, 5), (30,))]
    names = list(encoder.state_dict())

    def run(on: bool) -> list[torch.Tensor]:
        encoder.compile_layers(on)
        results = []
        for batch in batches:
            encoder.zero_grad()
            states = encoder(batch)
            states.square().mean().backward()
            results += [states.detach(), *(p.grad.clone() for p in encoder.layers.parameters()
                                           if p.grad is not None)]
        return results

    expected, computed = run(False), run(True)
    assert graphs
    # One for all lengths and layers, besides that of the first length and that of a layer of another kind.
    assert len(graphs) <= 3
    for before, after in zip(expected, computed, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)
    assert list(encoder.state_dict()) == names
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(batches[0]), expected[0], rtol=1e-5, atol=1e-6)


def test_dropout_is_part_of_the_graph(graphs: list[Any]) -> None:
    encoder, batch = tiny_bert(0.5, num_hidden_layers=5).train(), flat_batch({"sst": (9, 4)})
    encoder.compile_layers(True)
    torch.manual_seed(3)
    first = encoder(batch)
    assert len(graphs) <= 2  # the first layer and the others; nothing breaks them in two
    assert not torch.equal(encoder(batch), first)
    torch.manual_seed(3)
    assert torch.equal(encoder(batch), first)


def test_each_phase_says_whether_its_layers_are_compiled(graphs: list[Any]) -> None:
    seen, model = [], tiny_model()

    def evaluate() -> Score:
        seen.append(([layer.compiled for layer in model.encoder.layers], len(graphs)))
        return Score(0.5, {})

    train = from_table(Train, {"epochs": 1, "phases": [{"compile": False}, {"compile": True}]}, "")
    list(Trainer(model, TinyRows({"sst": 4, "quora": 4, "sts": 4}), train, 0, evaluate,
                 lambda where: None).run())
    assert seen[0] == ([False, False], 0)
    assert seen[1][0] == [True, True]
    assert seen[1][1] > 0


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run = pk.Run(encoder=pk.Encoder(checkpoint="minilm"),
                 tasks={"sst": pk.Task(train="a.csv", dev="b.csv", text=("text",), label="label")},
                 train=pk.Train(compile=True))

    def mistakes(run: pk.Run = run, **known: Any) -> list[str]:
        return [mistake for mistake in problems(run, Known(**known)) if ".compile" in mistake]

    assert mistakes() == []
    assert mistakes(encoder=tiny_bert()) == []
    foreign = wrap(transformers.FunnelModel(transformers.FunnelConfig(
        vocab_size=50, d_model=24, n_head=3, d_head=8, d_inner=32, block_sizes=[1])))
    assert mistakes(encoder=foreign) == [
        'train.compile: the layers of "funnel" are transformers\' own, which polytask does not compile; '
        "set compile = false"]
    (sharded,) = mistakes(replace(run, train=replace(run.train, parallel="shard")))
    assert 'parallel = "shard"' in sharded
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert mistakes() == ["train.compile: torch.compile needs a C++ compiler, and none is on the PATH; "
                          "set compile = false"]
