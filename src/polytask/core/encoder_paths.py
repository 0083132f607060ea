"""Names that other libraries define: the files of an encoder, of transformers and sentence-transformers.

The patterns of what is downloaded from the hub, or pushed to it, also name what our models have besides.
"""

from __future__ import annotations

from pathlib import Path

CARD = "README.md"
POOLING_MODULE = "1_Pooling"
_CONFIG, WEIGHTS, _INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_TOKENIZER, _TOKENIZER_SETTINGS, _SPECIAL_TOKENS, _VOCABULARY = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_MODULES, _TRANSFORMER, _ABOUT = (
    "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")
# Our own, in `ModelPaths`.
TASKS, HEADS, SHARED, ADAPTERS = "tasks.json", "heads", "shared", "adapters"
GRAPHS, GRAPH, INT8_GRAPH = "onnx", "model.onnx", "model_qint8.onnx"

ENCODER_FILES = (_CONFIG, "model*.safetensors", _INDEX, _TOKENIZER, _TOKENIZER_SETTINGS,
                 _SPECIAL_TOKENS, _VOCABULARY, _MODULES, f"{POOLING_MODULE}/{_CONFIG}")
MODEL_FILES = (*ENCODER_FILES, _TRANSFORMER, _ABOUT, f"[0-9]_*/{_CONFIG}", f"[0-9]_*/{WEIGHTS}",
               TASKS, f"{HEADS}/*", f"{SHARED}/*", f"{ADAPTERS}/*", CARD)
GRAPH_FILES = (f"{GRAPHS}/{GRAPH}", f"{GRAPHS}/{INT8_GRAPH}")
BESIDE_GRAPHS = (_TOKENIZER, TASKS, CARD)


def hub_revision(cache: str | Path, name: str, revision: str | None) -> Path:
    """Return the file of the hub's cache that holds the commit of a model's revision."""
    return Path(cache) / f"models--{name.replace('/', '--')}" / "refs" / (revision or "main")


class PartPaths:
    """Weights and their settings: a head, a shared layer, a task's adapter, a module after an encoder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / _CONFIG
        self.weights = path / WEIGHTS


class EncoderPaths(PartPaths):
    """An encoder as transformers saves it, and what sentence-transformers puts beside it."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(Path(path))
        self.weights_index = self.path / _INDEX
        self.pickled_weights = self.path / "pytorch_model.bin"
        self.peft_adapter = self.path / "adapter_config.json"
        self.tokenizer = self.path / _TOKENIZER
        self.tokenizer_settings = self.path / _TOKENIZER_SETTINGS
        self.special_tokens = self.path / _SPECIAL_TOKENS
        self.vocabulary = self.path / _VOCABULARY
        self.card = self.path / CARD
        self.modules = self.path / _MODULES
        self.transformer = self.path / _TRANSFORMER
        self.sentence_transformer = self.path / _ABOUT
        self.pooling = PartPaths(self.path / POOLING_MODULE)

    def dense(self, number: int) -> PartPaths:
        """Return the dense module at a place after the pooling, counted from 0."""
        return PartPaths(self.path / f"{2 + number}_Dense")
