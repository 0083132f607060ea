"""A state goes to disk and comes back as it was: types, tensors, random numbers; or its file is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.core.errors import CheckpointError
from polytask.learn.checkpoint import (
    load_checkpoint,
    pack,
    random_state,
    save_checkpoint,
    set_random_state,
    unpack,
)

leaves = st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.text(max_size=5) | st.floats(
    allow_nan=False)
states = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner)
                      | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3),
                      max_leaves=12)


@settings(derandomize=True, database=None, deadline=None, max_examples=80)
@given(state=states)
def test_a_nested_state_comes_back_with_its_types(state: Any) -> None:
    tensors: dict[str, torch.Tensor] = {}
    again = unpack(json.loads(json.dumps(pack(state, tensors))), tensors)
    assert again == state and type(again) is type(state)
    assert tensors == {}


def test_tensors_come_back_bit_for_bit_whatever_their_type(tmp_path: Path) -> None:
    tensors = [torch.randn(3, 4), torch.randn(5).double(), torch.randn(4).bfloat16(),
               torch.tensor([math.nan, math.inf, -0.0]), torch.arange(3), torch.tensor(True),
               torch.empty(0, 2), torch.tensor(1.5), torch.randn(4, 6).t()]
    save_checkpoint(tmp_path / "c", {"list": tensors, "state": {0: {"step": tensors[0]}}})
    again = load_checkpoint(tmp_path / "c")
    for one, other in zip(tensors, again["list"], strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.contiguous().numpy().tobytes() == other.numpy().tobytes() if (
            one.dtype != torch.bfloat16) else torch.equal(one, other)
    assert again["state"] == {0: {"step": again["state"][0]["step"]}}


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    weight = torch.arange(6.0)
    save_checkpoint(tmp_path / "c", {"a": weight, "b": weight, "part": weight[2:4]})
    again = load_checkpoint(tmp_path / "c")
    assert torch.equal(again["a"], weight) and torch.equal(again["b"], weight)
    assert again["part"].tolist() == [2, 3]


def test_nothing_in_the_folder_is_a_pickle(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", {"x": torch.ones(2), "n": 1})
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "state.json", "tensors.safetensors"]
    json.loads((tmp_path / "c" / "state.json").read_text())


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_file_cut_short_or_missing_is_named(tmp_path: Path, name: str, harm: str) -> None:
    save_checkpoint(tmp_path / "c", {"x": torch.ones(200), "n": 1})
    path = tmp_path / "c" / name
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "c")
    expected = f"{path}: the checkpoint lacks this file" if harm == "gone" else "cannot be read"
    assert expected in str(error.value)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", {})
    (tmp_path / "c" / "state.json").write_text('{"schema": 9, "state": {"$dict": []}}')
    with pytest.raises(CheckpointError, match="found schema 9, expected 1"):
        load_checkpoint(tmp_path / "c")


def test_a_newer_checkpoint_replaces_the_older_one_whole(tmp_path: Path) -> None:
    for number in (1, 2):
        save_checkpoint(tmp_path / "c", {"n": number, "x": torch.full((3,), float(number))})
    again = load_checkpoint(tmp_path / "c")
    assert again["n"] == 2 and again["x"].tolist() == [2, 2, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_random_numbers_go_on_where_they_stood(tmp_path: Path) -> None:
    torch.manual_seed(3)
    torch.rand(5)
    save_checkpoint(tmp_path / "c", random_state())
    expected = torch.rand(4)
    torch.manual_seed(88)
    set_random_state(load_checkpoint(tmp_path / "c"))
    assert torch.equal(torch.rand(4), expected)
