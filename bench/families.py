"""Speed of every encoder family, against our BERT of the same shape and against its own padded version.

    python bench/families.py [--batches 4] [--repeats 4] [--threads 2] [--page docs/encoders.md]

Random weights, 6 layers, 384 wide, 12 heads; batches of 16 sequences of 2 to 60 tokens; forward and
backward with dropout 0.1. "The Trainer's batch" is what `transformers.Trainer` computes: transformers' own
model on the batch padded to its longest sequence. For each batch the variants alternate; a figure is the
sum over batches of the fastest repeat. Errors are against transformers' own model on each sentence alone,
dropout off, fp32: the largest of any hidden state, and of any gradient in units of its weight's largest
entry (at least 1). `--page` writes the table between the lines `<!-- families -->` of a page.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import heading, table
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

from polytask.data.batch import TokenBatch
from polytask.model.encoders import load_any
from polytask.model.families import FAMILIES
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.memory import keep_freed_memory
from polytask.model.transformers_encoder import wrap

SIZES = {"vocab_size": 2000, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
         "intermediate_size": 1536, "max_position_embeddings": 130}
ROBERTA = {**SIZES, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0,
            "position_biased_input": False, "max_relative_positions": -1}
# A gated MLP has three matrices where others have two: two thirds of the width costs the same.
MODERN = {**SIZES, "intermediate_size": 1024, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2,
          "bos_token_id": 1, "eos_token_id": 2, "local_attention": 32}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": ROBERTA, "xlm-roberta": ROBERTA, "camembert": ROBERTA,
    "distilbert": {"vocab_size": 2000, "dim": 384, "n_layers": 6, "n_heads": 12, "hidden_dim": 1536,
                   "max_position_embeddings": 130},
    "electra": {**SIZES, "embedding_size": 128},
    "mpnet": {**SIZES, "pad_token_id": 1},
    "albert": {**SIZES, "embedding_size": 128},
    "deberta-v2": {**SIZES, **RELATIVE, "position_buckets": 32, "share_att_key": True,
                   "norm_rel_ebd": "layer_norm"},
    "modernbert": MODERN,
    "deberta": {**SIZES, **RELATIVE},
}


def batches(number: int) -> list[TokenBatch]:
    """Return random batches of 16 sequences, most of them short."""
    chance, draw = random.Random(1), torch.Generator().manual_seed(1)
    made = []
    for _ in range(number):
        lengths = tuple(min(60, max(2, round(chance.gauss(25, 11)))) for _ in range(16))
        ids = torch.randint(5, 2000, (sum(lengths),), generator=draw)
        made.append(TokenBatch(ids, torch.zeros_like(ids), lengths))
    return made


def opened(kind: str, folder: Path) -> tuple[Any, nn.Module]:
    """Return a random transformers model, and polytask's encoder loaded from its checkpoint."""
    import transformers

    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(kind, **SHAPES[kind])
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(folder)
    Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    return model, load_any(folder, dropout=0.0)[0]


def errors(kind: str, model: Any, encoder: Any, batch: TokenBatch) -> tuple[float, float]:
    """Return the largest error of any state and of any gradient."""
    outputs = [model(input_ids=part[None], attention_mask=torch.ones(1, len(part), dtype=torch.long),
                     output_hidden_states=True) for part in batch.ids.split(list(batch.lengths))]
    with torch.no_grad():
        states = max(float((own - torch.cat([each.hidden_states[k][0] for each in outputs])).abs().max())
                     for k, own in enumerate(encoder.hidden_states(batch)))
    if not isinstance(encoder, FlatEncoder):
        return states, float("nan")
    ours, theirs = encoder(batch), torch.cat([each.last_hidden_state[0] for each in outputs])
    weight = torch.randn_like(ours) / len(ours)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    peers, worst = dict(model.named_parameters()), 0.0
    for name, parameter in encoder.named_parameters():
        other = peers[FAMILIES[kind].weight(name)].grad
        if other is not None and parameter.grad is not None:
            error = float((parameter.grad - other).abs().max())
            worst = max(worst, error / max(1.0, float(other.abs().max())))
    return states, worst


def padded_batch(model: nn.Module) -> Callable[[TokenBatch], Tensor]:
    """Return the pass that `transformers.Trainer` makes: every sequence padded to the batch's longest."""
    def run(batch: TokenBatch) -> Tensor:
        parts = batch.ids.split(list(batch.lengths))
        ids = nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(part) for part in parts], batch_first=True)
        states: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
        return states[mask.bool()]

    return run


def timed(ways: dict[str, Callable[[TokenBatch], Tensor]], sets: list[TokenBatch],
          repeats: int) -> dict[str, float]:
    """Return the seconds of each variant over all batches."""
    total = dict.fromkeys(ways, 0.0)
    for batch in sets:
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(repeats):
            for name, way in ways.items():
                began = time.perf_counter()
                way(batch).square().mean().backward()
                best[name] = min(best[name], time.perf_counter() - began)
        total = {name: total[name] + best[name] for name in ways}
    return total


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--batches", type=int, default=4)
    words.add_argument("--repeats", type=int, default=4)
    words.add_argument("--threads", type=int, default=2)
    words.add_argument("--page", type=Path)
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    logging.disable(logging.WARNING)
    keep_freed_memory()
    sets, rows = batches(given.batches), []
    with tempfile.TemporaryDirectory() as place:
        _, bert = opened("bert", Path(place) / "reference")
        for kind in SHAPES:
            model, encoder = opened(kind, Path(place) / kind)
            flat = isinstance(encoder, FlatEncoder)
            state, gradient = errors(kind, model, encoder, sets[0])
            padded = wrap(model, pooler=False) if flat else encoder
            for each in (bert, encoder, padded):
                each.train().set_dropout(0.1)  # type: ignore[operator]
            seconds = timed({"bert": bert, "ours": encoder, "padded": padded,
                             "trainer": padded_batch(model)}, sets, given.repeats)
            tokens = sum(batch.num_tokens for batch in sets)
            rows.append([f"`{kind}`", "flat" if flat else "padded by like lengths",
                         f"{tokens / seconds['ours']:,.0f}", f"{seconds['bert'] / seconds['ours']:.2f}",
                         f"{seconds['padded'] / seconds['ours']:.2f}" if flat else "1.00",
                         f"{seconds['trainer'] / seconds['ours']:.2f}", f"{state:.0e}",
                         f"{gradient:.0e}" if flat else "transformers' own"])
            print(json.dumps(rows[-1]), flush=True)
    text = "\n\n".join([heading("transformers"), table(
        ["model_type", "runs", "real tokens/s", "of our BERT's speed", "faster than padded by like lengths",
         "faster than the Trainer's batch", "error of states", "error of gradients"], rows)])
    print(text)
    if given.page:
        page = given.page.read_text(encoding="utf-8")
        given.page.write_text(re.sub(r"(<!-- families -->\n).*?(<!-- end families -->)",
                                     lambda found: f"{found[1]}{text}\n{found[2]}", page, flags=re.DOTALL),
                              encoding="utf-8")


if __name__ == "__main__":
    main()
