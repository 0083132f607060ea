"""Where an encoder training step spends its time, and what each way of computing it gains.

    python bench/encoder.py [--data DATA] [--batch 16] [--batches 8] [--repeats 8] [--threads 2]

Random batches of SST (--data), or random lengths like those of SST. For each batch the variants
alternate in one process; a figure is the sum over batches of the fastest repeat, so that other load on
the machine matters little. MiniLM's sizes; forward, backward, clipping and AdamW; dropout 0.1.
"""

from __future__ import annotations

import argparse
import csv
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import matmul_peak, processor, useful_flops, versions
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.data.batch import TokenBatch
from polytask.model.attention import attend
from polytask.model.bert import Bert, BertConfig
from polytask.model.dropout import added_norm
from polytask.model.memory import keep_freed_memory

SIZES = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
                   intermediate_size=1536)


def batches(data: Path | None, size: int, number: int) -> list[TokenBatch]:
    """Return random batches of SST sentences, or of similar lengths."""
    chance = random.Random(1)
    if data is None:
        texts = [[101, *(min(int(chance.paretovariate(0.6)) + 1996, 30521) for _ in range(length))]
                 for length in (max(2, round(chance.gauss(25, 11))) for _ in range(size * number))]
    else:
        from tokenizers import Tokenizer

        from polytask.model.pretrained import checkpoint_folder

        tokenizer = Tokenizer.from_file(str(checkpoint_folder("minilm") / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        with (data / "ids-sst-train.csv").open(encoding="utf-8", newline="") as file:
            rows = [row["sentence"] for row in csv.DictReader(file, delimiter="\t")]
        texts = [each.ids for each in tokenizer.encode_batch(chance.sample(rows, size * number))]
    made = []
    for start in range(0, len(texts), size):
        part = texts[start:start + size]
        ids = torch.tensor([token for text in part for token in text])
        made.append(TokenBatch(ids, torch.zeros_like(ids), tuple(map(len, part))))
    return made


class Ours:
    """A step of polytask's encoder with a small head; `narrow`: word gradients by row."""

    def __init__(self, narrow: bool, compiled: bool = False) -> None:
        self.bert, self.head, self.narrow = Bert(SIZES, pooler=False).train(), nn.Linear(384, 5), narrow
        self.bert.compile_layers(compiled)
        self.params = [*self.bert.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(self.params, lr=2e-5, fused=True)

    def __call__(self, batch: TokenBatch) -> None:
        words, targets = self.bert.embeddings.word, torch.arange(len(batch.lengths)) % 5
        if self.narrow:
            words.narrow(batch.ids)
        logits = self.head(self.bert(batch).index_select(0, batch.first))
        F.cross_entropy(logits, targets).backward()
        if self.narrow:
            held = [p.grad for p in self.params if p.grad is not None] + [words.leaf.grad]
            # The optimizer divides by the norm, which saves another pass over the gradients.
            self.optimizer.grad_scale = nn.utils.get_total_norm(held).clamp_min(1.0)
            words.widen()
            self.optimizer.step()
        else:
            nn.utils.clip_grad_norm_(self.params, 1.0)
            self.optimizer.step()
        self.optimizer.zero_grad()


class Theirs:
    """The same step in `transformers`, padded, as its Trainer runs it."""

    def __init__(self) -> None:
        from transformers import BertConfig as Config
        from transformers import BertForSequenceClassification

        self.model = BertForSequenceClassification(Config(
            hidden_size=SIZES.hidden_size, num_hidden_layers=SIZES.num_hidden_layers, num_labels=5,
            num_attention_heads=SIZES.num_attention_heads,
            intermediate_size=SIZES.intermediate_size)).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-5, fused=True)

    def __call__(self, batch: TokenBatch) -> None:
        ids = nn.utils.rnn.pad_sequence(list(batch.ids.split(list(batch.lengths))), batch_first=True)
        mask = torch.arange(ids.shape[1]) < torch.tensor(batch.lengths)[:, None]
        targets = torch.arange(len(batch.lengths)) % 5
        self.model(input_ids=ids, attention_mask=mask.long(), labels=targets).loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def steps(given: argparse.Namespace) -> None:
    """Print the speed of each way to compute a step."""
    drawn = batches(given.data, given.batch, given.batches)
    narrow = Ours(narrow=True)
    ways = {"polytask": narrow,
            "polytask, dense word gradient": Ours(narrow=False),
            "polytask, layers compiled": Ours(narrow=True, compiled=True), "transformers, padded": Theirs()}
    best = {way: [float("inf")] * len(drawn) for way in ways}
    peak = 0.0
    for repeat in range(given.repeats + 1):  # the first round warms up
        for number, batch in enumerate(drawn):
            for way, step in ways.items():
                began = time.perf_counter()
                step(batch)
                if repeat:
                    best[way][number] = min(best[way][number], time.perf_counter() - began)
        peak = max(peak, matmul_peak(1024, 0.1))
    tokens = sum(batch.num_tokens for batch in drawn)
    flops = sum(useful_flops(list(batch.lengths), 6, 384, 1536) for batch in drawn)
    print(f"{len(drawn)} batches of {given.batch}, {tokens / len(drawn):.0f} tokens each; "
          f"matmul peak {peak / 1e9:.0f} GFLOP/s")
    reference = sum(best["transformers, padded"])
    for way, times in best.items():
        total = sum(times)
        print(f"{way:<30} {1e3 * total / len(drawn):6.1f} ms a step {tokens / total:7.0f} tokens/s  "
              f"{reference / total:4.2f}×  {flops / total / 1e9:4.0f} useful GFLOP/s, "
              f"{100 * flops / total / peak:3.0f} % of the peak")


def fastest(run: Callable[[], object], repeats: int) -> float:
    """Return the shortest time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def parts(given: argparse.Namespace) -> None:
    """Print the time of each part of one layer, forward and backward."""
    batch = batches(given.data, given.batch, 1)[0]
    tokens, norm = batch.num_tokens, nn.LayerNorm(384)

    def linear(out: int, into: int) -> tuple[Callable[..., Tensor], list[Tensor]]:
        return F.linear, [torch.randn(tokens, into), torch.randn(out, into), torch.randn(out)]

    wide = [torch.randn(tokens, 384), torch.randn(tokens, 384)]
    table: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
        "attention": (lambda x: attend(x, batch.lengths, 12, 0.1), [torch.randn(tokens, 1152)]),
        "residual, dropout, LayerNorm": (lambda a, b: added_norm(a, b, norm, 0.1), wide),
        "GELU": (F.gelu, [torch.randn(tokens, 1536)]),
        "linear 384 → 1152": linear(1152, 384), "linear 384 → 384": linear(384, 384),
        "linear 384 → 1536": linear(1536, 384), "linear 1536 → 384": linear(384, 1536),
    }
    print(f"\none layer, {tokens} tokens: milliseconds forward and backward")
    for name, (function, values) in table.items():
        inputs = [value.requires_grad_() for value in values]
        grad = torch.randn_like(function(*inputs))

        def both(function: Callable[..., Tensor] = function, inputs: list[Tensor] = inputs,
                 grad: Tensor = grad) -> object:
            return torch.autograd.grad(function(*inputs), inputs, grad)

        print(f"{name:<30} {1e3 * fastest(both, 8 * given.repeats):6.2f}")


def after_backward(repeats: int) -> None:
    """Print what an update costs outside the layers: the gradient's norm and AdamW."""
    model = Bert(SIZES)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    word = model.embeddings.word.weight
    every = torch.optim.AdamW(model.parameters(), lr=1e-9, fused=True)
    alone = torch.optim.AdamW([word], lr=1e-9, fused=True)
    others = [p.grad for p in model.parameters() if p is not word and p.grad is not None]
    million = sum(p.numel() for p in model.parameters()) / 1e6
    print("\nafter the backward pass: milliseconds")
    for name, run in {f"AdamW, {million:.1f} million weights": every.step,
                      f"of them the word table, {word.numel() / 1e6:.1f} million": alone.step,
                      "norm of the gradient, without the table's": lambda: nn.utils.get_total_norm(
                          others, foreach=True)}.items():
        print(f"{name:<44} {1e3 * fastest(run, 8 * repeats):6.2f}")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path)
    words.add_argument("--batch", type=int, default=16)
    words.add_argument("--batches", type=int, default=8)
    words.add_argument("--repeats", type=int, default=8)
    words.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = words.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    keep_freed_memory()
    print(f"{processor()}; {versions('torch', 'transformers')}")
    print("\n```text")
    steps(given)
    parts(given)
    after_backward(given.repeats)
    print("```")


if __name__ == "__main__":
    main()
