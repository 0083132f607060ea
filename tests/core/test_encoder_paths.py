"""The names of transformers and sentence-transformers, and the patterns that fetch and push them."""

from __future__ import annotations

from fnmatch import fnmatch

from polytask.core.encoder_paths import ENCODER_FILES, GRAPH_FILES, MODEL_FILES, EncoderPaths
from polytask.core.paths import ModelPaths


def test_names_are_those_of_the_other_libraries() -> None:
    encoder = EncoderPaths("m")
    assert str(encoder.config) == "m/config.json" and str(encoder.weights) == "m/model.safetensors"
    assert str(encoder.pooling.config) == "m/1_Pooling/config.json"
    assert str(encoder.dense(0).weights) == "m/2_Dense/model.safetensors"


def test_the_patterns_take_every_file_of_a_model_and_no_pickle() -> None:
    model = ModelPaths(".")
    wanted = [model.config, model.weights, model.weights_index, model.tokenizer, model.tokenizer_settings,
              model.special_tokens, model.vocabulary, model.card, model.modules, model.transformer,
              model.sentence_transformer, model.pooling.config, model.dense(1).config,
              model.dense(1).weights, model.tasks, model.head("sst").weights, model.shared("wide").config,
              model.adapter("sst").weights]
    for path in wanted:
        assert any(fnmatch(path.as_posix(), pattern) for pattern in MODEL_FILES), path
    for patterns in (ENCODER_FILES, MODEL_FILES):
        assert not any(fnmatch(model.pickled_weights.as_posix(), pattern) for pattern in patterns)
    assert [model.graph().as_posix(), model.graph(int8=True).as_posix()] == list(GRAPH_FILES)
