"""The network: one pass for all tasks gives what each would get alone; what is shared is known."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from polytask.core.errors import ConfigError
from polytask.data.batch import Span, TokenBatch
from polytask.data.labels import Labels
from polytask.model.bert import Bert, BertConfig
from polytask.model.heads.cosine import Cosine
from polytask.model.heads.linear import Linear
from polytask.model.heads.mlp import MLP
from polytask.model.heads.shared import Shared
from polytask.model.multitask import MultiTask, build_task_head
from polytask.model.names import module_name_problem
from polytask.model.output import Output
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.cross_bi_encoder import CrossBiEncoder
from polytask.model.pairings.cross_encoder import CrossEncoder
from polytask.model.pairings.single import Single
from polytask.model.poolings.cls import Cls
from polytask.model.poolings.max import Max
from polytask.model.poolings.mean import Mean
from polytask.model.poolings.pooler import Pooler

STARS = Labels("regression", low=0, high=5)
TASKS = {
    "sst": (Pooler(), Single(), Linear(), Labels("classes", ("a", "b", "c")), 3),
    "quora": (Pooler(), CrossEncoder(), MLP(hidden=6), Labels("binary", ("0", "1")), 1),
    "sts": (Mean(), BiEncoder(), Shared(hidden=6), STARS, 1),
    "sick": (Mean(), BiEncoder(), Shared(hidden=6), STARS, 1),
    "near": (Max(), BiEncoder(), Cosine(), STARS, 1),
}


def network(tasks: tuple[str, ...] = tuple(TASKS)) -> MultiTask:
    torch.manual_seed(5)
    encoder = Bert(BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2,
                              num_attention_heads=2, intermediate_size=24))
    shared = nn.ModuleDict()
    task_heads = {task: build_task_head(encoder, *TASKS[task], shared) for task in tasks}
    return MultiTask(encoder, task_heads, shared)


def draw(task: str, rows: int, seed: int = 0) -> tuple[str, int, tuple[int, ...], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sequences = TASKS[task][1].sequences
    lengths = tuple(torch.randint(2, 9, (rows * sequences,), generator=generator).tolist())
    return task, rows, lengths, torch.randint(50, (sum(lengths),), generator=generator)


def joined(*draws: tuple[str, int, tuple[int, ...], Tensor]) -> TokenBatch:
    spans, lengths, ids = [], [], []
    for task, rows, own, words in draws:
        sequences = slice(len(lengths), len(lengths) + len(own))
        tokens = slice(sum(map(len, ids)), sum(map(len, ids)) + len(words))
        spans.append(Span(task, rows, sequences, tokens))
        lengths += own
        ids.append(words)
    words = torch.cat(ids)
    return TokenBatch(words, torch.zeros_like(words), tuple(lengths), tuple(spans))


@pytest.mark.technique("M-1", "S-2")
def test_one_pass_gives_every_microbatch_what_it_gets_alone() -> None:
    model = network().eval()
    draws = [draw(task, 3, seed) for seed, task in enumerate([*TASKS, "sst"])]
    together = model(joined(*draws))
    assert len(together) == len(draws)
    for each, output in zip(draws, together, strict=True):
        (alone,) = model(joined(each))
        for name in ("u", "v", "vector", "logits", "score"):
            a, b = getattr(output, name), getattr(alone, name)
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b)


@pytest.mark.technique("T-2", "T-3", "T-4")
def test_each_branch_fills_the_field_of_its_head() -> None:
    outputs = dict(zip(TASKS, network()(joined(*(draw(task, 3) for task in TASKS))), strict=True))
    assert outputs["sst"].logits.shape == (3, 3) and outputs["sst"].score is None
    assert outputs["quora"].logits.shape == (3,)
    assert outputs["sts"].score.shape == (3,) and outputs["sts"].logits is None
    assert outputs["near"].score.abs().max() <= 1 + 1e-6
    assert outputs["sts"].vector.shape == (3, 48) and outputs["quora"].v is None


def test_pooling_is_the_tasks_own() -> None:
    model = network().eval()
    batch = joined(draw("near", 2), draw("sst", 2))
    hidden = model.encoder(batch)
    near, sst = batch.spans
    torch.testing.assert_close(model.pooled(hidden, batch, near),
                               Max().pool(hidden, batch, model.encoder)[near.sequences])
    torch.testing.assert_close(model.pooled(hidden, batch, sst),
                               model.encoder.pooler(Cls().pool(hidden, batch, None)[sst.sequences]))


def test_known_vectors_spare_the_encoder() -> None:
    model = network().eval()
    batch = joined(draw("sts", 4))
    (through,) = model(batch)
    pooled = model.pooled(model.encoder(batch), batch, batch.spans[0]).detach()
    model.encoder = None
    assert torch.equal(model.from_pooled("sts", pooled).score, through.score)


def test_given_embeddings_take_the_place_of_the_words() -> None:
    model = network().eval()
    batch = joined(draw("sst", 2), draw("quora", 2))
    embeddings = model.encoder.embed(batch).detach().requires_grad_()
    for same, plain in zip(model(batch, embeddings), model(batch), strict=True):
        assert torch.equal(same.logits, plain.logits)
    model(batch, embeddings)[0].logits.sum().backward()
    tokens = batch.spans[0].tokens
    assert embeddings.grad[tokens].abs().sum() > 0
    assert embeddings.grad[tokens.stop:].abs().sum() == 0


def answers(output: Output) -> Tensor:
    return output.field("score" if output.logits is None else "logits")


def names(model: MultiTask, parameters: list[nn.Parameter]) -> set[str]:
    known = {id(p): name for name, p in model.named_parameters()}
    return {known[id(p)] for p in parameters}


def shared_names(model: MultiTask, *tasks: str) -> set[str]:
    return names(model, model.shared_parameters(tasks))


def test_what_two_tasks_reach_is_shared_and_nothing_else() -> None:
    model = network()
    encoder = {f"encoder.{name}" for name, _ in model.encoder.named_parameters()}
    pooler = {name for name in encoder if ".pooler." in name}
    layer = {"shared.shared.weight", "shared.shared.bias"}
    assert len(pooler) == 2
    assert shared_names(model, *TASKS) == encoder | layer
    assert shared_names(model, "sst", "sts") == encoder - pooler
    assert shared_names(model, "sts", "sick") == encoder - pooler | layer
    assert shared_names(model, "sst") == set()


@pytest.mark.parametrize("tasks", [("sst", "quora"), ("sst", "sts"), ("sts", "sick", "near")])
def test_gradients_agree_with_what_is_called_shared(tasks: tuple[str, ...]) -> None:
    model = network()
    reached: dict[str, int] = {}
    for task in tasks:
        model.zero_grad(set_to_none=True)
        (output,) = model(joined(draw(task, 3)))
        answers(output).sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                reached[name] = reached.get(name, 0) + 1
    assert shared_names(model, *tasks) == {name for name, count in reached.items() if count > 1}


def test_the_pieces_of_an_adapter_that_are_one_tasks_own_are_not_shared() -> None:
    model = network(("sst", "quora"))

    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tasks = nn.ModuleDict({task: nn.Linear(2, 2) for task in ("sst", "quora")})
            self.common = nn.Linear(2, 2)

    model.encoder.adapter = Adapter()
    found = {name for name in shared_names(model, "sst", "quora") if "adapter" in name}
    assert found == {"encoder.adapter.common.weight", "encoder.adapter.common.bias"}
    assert model.reached_by("encoder.adapter.tasks.sst.weight", ["sst", "quora"]) == {"sst"}


def test_a_shared_layer_is_saved_once_and_a_copy_shares_its_own() -> None:
    model = network()
    assert sum("shared.shared" in key for key in model.state_dict()) == 2
    assert len({id(p) for p in model.parameters()}) == len(list(model.parameters()))
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.shared["shared"].weight.zero_()
        copied.shared["shared"].bias.zero_()
    batch = joined(draw("sts", 3))
    before, after = model.eval()(batch)[0].score, copied.eval()(batch)[0].score
    assert not torch.allclose(before, after)
    assert torch.equal(after, after[0].expand(3))  # a zeroed layer: the bias of the last one alone


def test_a_cosine_of_a_packed_pair_is_refused_with_a_remedy() -> None:
    encoder = network().encoder
    with pytest.raises(ConfigError, match='"cosine" compares two vectors, but pairing '
                                          '"cross_encoder" gives one; set pairing = "bi_encoder"'):
        build_task_head(encoder, Mean(), CrossEncoder(), Cosine(), STARS, 1, nn.ModuleDict())
    with pytest.raises(ConfigError, match='"cross_bi_encoder" gives a third, which nothing would see; set'):
        build_task_head(encoder, Mean(), CrossBiEncoder(), Cosine(), STARS, 1, nn.ModuleDict())
    with pytest.raises(ConfigError, match='"cross_encoder" gives one; set pairing = "bi_encoder"'):
        build_task_head(encoder, Mean(), CrossEncoder(symmetric=True), Cosine(), STARS, 1, nn.ModuleDict())


@pytest.mark.parametrize(("name", "said"), [
    ("keys", "torch reserves"), ("type", "torch reserves"), ("a.b", "not made of letters"),
    ("", "not made of letters"), ("../x", "not made of letters"), ("x" * 101, "at most 100"),
])
def test_a_task_name_that_cannot_name_a_module_or_a_folder_is_refused(name: str, said: str) -> None:
    assert said in str(module_name_problem(name))
    assert module_name_problem("msr-para_2") is None


def test_a_shared_layer_that_a_head_does_not_name_is_refused() -> None:
    class Silent(Linear):
        def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
            shared["quiet"] = nn.Linear(width, width)
            return super().build(width, outputs, shared)

    with pytest.raises(ConfigError, match='puts the layer "quiet" into `shared`, but its shared_layers'):
        build_task_head(network(("sst",)).encoder, Cls(), Single(), Silent(), *TASKS["sst"][3:],
                        nn.ModuleDict())
