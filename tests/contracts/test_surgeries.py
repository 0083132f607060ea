"""What every surgery promises: ours, and torchjd's aggregators through the same surface."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Generator

from polytask.core.settings import to_table
from polytask.learn.checkpoint import pack, unpack
from polytask.learn.surgery.contract import GradientRule, surgery

TASKS = ("sst", "quora", "sts")
FORMS: dict[str, list[Any]] = {
    "pcgrad": ["pcgrad", {"type": "pcgrad", "reduction": "mean"},
               {"type": "pcgrad", "every": 4, "layers": [0, 1]}],
    "torchjd": [],
}
OURS = [table for name in sorted(surgery.members) for table in FORMS.get(name, [name])]
# With what each needs beyond torchjd itself.
THEIRS: list[tuple[Any, str]] = [
    ("torchjd:Sum", "torchjd"), ("torchjd:Mean", "torchjd"), ("torchjd:Random", "torchjd"),
    ("torchjd:PCGrad", "torchjd"), ("torchjd:MGDA", "torchjd"), ("torchjd:IMTLG", "torchjd"),
    ("torchjd:AlignedMTL", "torchjd"), ("torchjd:GradVac", "torchjd"),
    ("torchjd:GradDrop", "torchjd"), ("torchjd:ConFIG", "torchjd"), ("torchjd:PCD", "torchjd"),
    ("torchjd:ExcessMTL", "torchjd"), ({"type": "torchjd:FairGrad", "alpha": 1.0}, "torchjd"),
    ({"type": "torchjd:Constant", "weights": {"sts": 0.2, "sst": 0.5, "quora": 0.3}}, "torchjd"),
    ({"type": "torchjd:TrimmedMean", "trim_number": 1}, "torchjd"),
    ("torchjd:UPGrad", "quadprog"),
    ({"type": "torchjd:UPGrad", "pref_vector": [0.2, 0.3, 0.5]}, "quadprog"),
    ("torchjd:DualProj", "quadprog"),
    ({"type": "torchjd:CAGrad", "c": 0.4}, "cvxpy"), ("torchjd:NashMTL", "ecos"),
]
FOREIGN = [pytest.param(table, id=str(table), marks=[
    pytest.mark.skipif(find_spec(needed) is None or find_spec("torchjd") is None,
                       reason=f"needs {needed}"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),  # cvxpy's
]) for table, needed in THEIRS]
EVERY = [pytest.param(table, id=str(table)) for table in OURS] + FOREIGN

def built(table: Any) -> GradientRule:
    chosen = surgery.read(table)
    assert chosen.problem(TASKS, len(TASKS)) is None
    made: GradientRule = chosen.build(TASKS)
    return made


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def gradients(seed: int, width: int = 7) -> torch.Tensor:
    return torch.randn(3, width, generator=seeded(seed))


def test_every_surgery_is_under_test() -> None:
    assert {surgery.read(table).reference for table in OURS} == set(surgery.members) - {"torchjd"}


@pytest.mark.parametrize("table", EVERY)
def test_the_answer_comes_from_the_generator_alone(table: Any) -> None:
    matrix = gradients(0)
    before = torch.get_rng_state()
    first = built(table).combine(matrix.clone(), seeded(5))
    torch.rand(3)
    again = built(table).combine(matrix.clone(), seeded(5))
    assert torch.equal(first, again)
    torch.set_rng_state(before)
    built(table).combine(matrix, seeded(5))
    assert torch.equal(torch.get_rng_state(), before), "dropout's randomness was touched"


@pytest.mark.parametrize("table", EVERY)
def test_weights_and_matrix_give_one_answer(table: Any) -> None:
    chosen, matrix = built(table), gradients(1)
    if not chosen.uses_gramian:
        assert chosen.combine(matrix, seeded(2)).shape == (7,)
        return
    weights = chosen.weights(matrix.double() @ matrix.double().T, seeded(2))
    assert weights.shape == (3,)
    torch.testing.assert_close(weights.float() @ matrix, built(table).combine(matrix, seeded(2)),
                               rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("table", EVERY)
def test_it_continues_from_its_state(table: Any) -> None:
    def walk(chosen: GradientRule, steps: range) -> list[list[float]]:
        return [chosen.combine(gradients(step), seeded(step)).tolist() for step in steps]

    whole, first, second = built(table), built(table), built(table)
    expected = walk(whole, range(6))
    done = walk(first, range(3))
    tensors: dict[str, torch.Tensor] = {}
    skeleton = pack(first.state_dict(), tensors)
    second.load_state_dict(unpack(skeleton, tensors))
    assert done + walk(second, range(3, 6)) == expected


@pytest.mark.parametrize("table", EVERY)
def test_a_second_build_remembers_nothing_of_the_first(table: Any) -> None:
    chosen = surgery.read(table)
    used = chosen.build(TASKS)
    first = used.combine(gradients(0), seeded(0)).tolist()
    used.combine(gradients(1), seeded(1))
    assert chosen.build(TASKS).combine(gradients(0), seeded(0)).tolist() == first


@pytest.mark.parametrize("table", EVERY)
def test_settings_survive_their_table(table: Any) -> None:
    chosen = surgery.read(table)
    assert surgery.read(to_table(chosen)) == chosen


@pytest.mark.parametrize("table", FOREIGN)
def test_theirs_give_what_torchjd_gives(table: Any) -> None:
    module = pytest.importorskip("torchjd.aggregation")
    fields = dict(table) if isinstance(table, dict) else {"type": table}
    cls = getattr(module, fields.pop("type").removeprefix("torchjd:"))
    if isinstance(fields.get("weights"), dict):
        fields["weights"] = [fields["weights"][task] for task in TASKS]
    fields = {key: torch.tensor(value) if isinstance(value, list) else value
              for key, value in fields.items()}
    if cls.__name__ == "NashMTL":
        fields["n_tasks"] = 3
    matrix = gradients(3)
    seed = int(torch.randint(2**62, (), generator=seeded(4)))
    torch.manual_seed(seed)
    expected = cls(**fields)(matrix)
    torch.testing.assert_close(built(table).combine(matrix, seeded(4)), expected)


@pytest.mark.parametrize("table", FOREIGN)
def test_settings_hold_nothing_that_training_changes(table: Any) -> None:
    chosen = surgery.read(table)
    before, kept = dict(vars(chosen)), to_table(chosen)
    used = chosen.build(TASKS)
    used.combine(gradients(0), seeded(0))
    assert used is not chosen
    assert dict(vars(chosen)) == before and to_table(chosen) == kept
