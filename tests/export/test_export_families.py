"""Encoders whose attention knows distances, windows or rotations export as BERT does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from exported_models import THREE, TWO, task

from foreign import FLAT
from polytask.export.graph import ExportedNetwork
from polytask.export.onnx import export_graph, graph_info, save_graph
from polytask.inference.onnx_model import open_graph
from polytask.model.families import build_flat
from polytask.model.flat_config import read_flat
from polytask.model.heads.linear import Linear
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.single import Single
from polytask.model.poolings.cls import Cls
from polytask.model.poolings.mean import Mean
from polytask.tasks.model_folder import ModelFolder, new_model


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "deberta-v3", "modernbert"])
def test_a_family_exports_and_equals_torch(kind: str, tmp_path: Path, tokenizer: Path) -> None:
    model_type, sizes = FLAT[kind]
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    encoder = build_flat(read_flat(config.to_dict())).eval()
    tasks = {each.name: each for each in (task("one", THREE, Single(), Cls(), Linear()),
                                          task("two", TWO, BiEncoder(), Mean(), Linear()))}
    held = ModelFolder(new_model(encoder, tasks, Mean()).eval(), tasks, tokenizer, Mean())
    save_graph(export_graph(held.model, tasks, Mean(), graph_info(held)), tmp_path / "model.onnx")
    session, network = open_graph(tmp_path / "model.onnx", 1), ExportedNetwork(held.model, tasks, Mean())
    chance = np.random.default_rng(0)
    for sequences, longest in ((1, 2), (3, 7), (4, 33)):
        lengths = chance.integers(2, longest + 1, sequences)
        mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
        fed = {"input_ids": chance.integers(5, 50, mask.shape) * mask, "attention_mask": mask,
               "token_type_ids": np.zeros_like(mask)}
        with torch.inference_mode():
            want = network(*(torch.from_numpy(each) for each in fed.values()))
        for one, other in zip(session.run(None, fed), want, strict=True):
            if one.size:
                np.testing.assert_allclose(one, other.numpy(), atol=2e-5)
