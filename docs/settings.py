"""Writes docs/settings.md: every key of a config that is no component's, from the settings themselves.

    python docs/settings.py

The examples are read as configs by a test, which also compares the committed page with this one.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import reference

from polytask.commands.list import families
from polytask.config import Data, Encoder, Run
from polytask.learn.optimizers import Optimizer
from polytask.learn.train_settings import Train
from polytask.tasks.task import Task

PAGE = Path(__file__).parent / "settings.md"
TABLES = {"The whole file": Run, "[data]": Data, "[encoder]": Encoder, "[tasks.NAME]": Task,
          "[train]": Train, "[train.optimizer]": Optimizer}

# Each is laid over the small config of the page's beginning.
BASE = """
[encoder]
checkpoint = "minilm"

[tasks.reviews]
train = "reviews-train.csv"
text = "sentence"
label = "stars"

[tasks.pairs]
train = "pairs-train.csv"
text = ["first", "second"]
label = "same"
"""
EXAMPLES = {
    "Several trainings one after the other": ("""
[[train.phases]]
tasks = ["pairs"]
epochs = 1

[[train.phases]]
epochs = 3
surgery = "pcgrad"
optimizer = { lr = 1e-5 }
""", """
        Each phase is `[train]` with some keys changed, over all tasks or those it names. A phase begins
        with a new optimizer and a learning rate that rises anew; `keep_optimizer = true` goes on with the
        moments of the phase before, and with learned weights of the tasks where the weighting is the
        same. The best model of all phases is kept. `polytask check` shows the plan of each.
        """),
    "Going on from a run": ("""
[encoder]
checkpoint = "runs/first"

[tasks.tags]
train = "tags-train.csv"
text = "sentence"
label = "tag"
""", """
        A run as checkpoint gives its encoder and pooling, the heads of the tasks that both have, and
        its adapters where `encoder.adapter` is the same. A task that is new, or whose classes or range
        are others, begins with a fresh head, which is said.
        """),
    "What of the encoder is trained": ("""
[encoder]
trainable = [9, 10, 11]
""", """
        A list trains these layers (counted from 0) beside the heads. With `"frozen"` every text is read
        once, and an epoch costs the heads alone.
        """),
    "Layers at rates of their own": ("""
[train.optimizer]
lr = 2e-5
head_lr = 1e-3
layer_decay = 0.95
layer_rates = { embeddings = 0.0, "11" = 2.0 }
""", """
        `layer_decay` gives each layer that share of the rate above it, and a factor in `layer_rates`
        multiplies it. Tables under the names of tasks, `layer_rates = { reviews = { "0" = 0.5 } }`, give
        each task rates of its own: an update moves a layer at the mean of the rates of its tasks, and
        their gradients are added up in the ratio of these.
        """),
    "Stopping early, averaging, keeping the best of each task": ("""
[train]
epochs = 20
evaluate_every = 200
early_stopping = 5
ema = 0.999
best_per_task = true
score = "0.5 * reviews.accuracy + pairs.f1"
""", """
        `score` picks the best model, which lies under `model/`; with `best_per_task` each task's own best
        lies under `best/TASK/` too.
        """),
    "Large batches in little memory": ("""
[train]
batch_size = { reviews = 32, pairs = 64 }
accumulate = 4
precision = "bf16"
""", """
        The rows of an update are computed in four parts, whose gradients add up to that of the whole.
        """),
    "Watching gradients disagree": ("""
[train]
gradient_cosines = 50
train_metrics = true
""", """
        The cosines between the tasks' gradients are recorded every 50 updates, with or without surgery,
        and drawn in the report; `train_metrics` measures the training rows beside dev.
        """),
}


PYTHON = """
import polytask as pk

run = pk.Run(
    data=pk.Data(root="data"),
    encoder=pk.Encoder(checkpoint="minilm", pooling=pk.poolings.Mean()),
    tasks={
        "reviews": pk.Task(train="reviews-train.csv", text="sentence", label="stars",
                           loss=[pk.losses.CrossEntropy(), pk.losses.OrdinalLogLoss(alpha=1.5)]),
        "pairs": pk.Task(train="pairs-train.csv", text=("first", "second"), label="same",
                         pairing=pk.pairings.BiEncoder(), head=pk.heads.MLP(hidden=256)),
    },
    train=pk.Train(epochs=3, surgery=pk.surgeries.PCGrad(), weighting=pk.weightings.Uncertainty(lr=1e-3),
                   optimizer=pk.Optimizer(lr=2e-5, head_lr=1e-3)),
)
print(run.to_toml())
"""


def page() -> str:
    """Return the text of the page."""
    parts = ["# Settings", "Written by `python docs/settings.py`. A config is TOML; any key can be "
             "overridden with `--set train.epochs=5`. What is named by a word or a table "
             "with `type` is described under [families](families).",
             "The examples below change this config:",
             f"```toml\n{BASE.strip()}\n```"]
    for title, (toml, text) in EXAMPLES.items():
        parts += [f"## {title}", f"```toml\n{toml.strip()}\n```", reference.flowing(text)]
    parts += ["## The same from Python", f"```python\n{PYTHON.strip()}\n```",
              "`run.train(\"runs/first\")` trains it."]
    for title, cls in TABLES.items():
        parts += [f"## {title}", reference.flowing((inspect.getdoc(cls) or "").split("\n\n")[0]),
                  "\n".join(["| key | type | default | |", "|---|---|---|---|",
                             *map(linked, reference.fields(cls))])]
    return "\n\n".join(parts) + "\n"


def linked(row: str) -> str:
    """Return a row of a table with its component's page, or its own table, linked."""
    key, type_, default, doc = row.removeprefix("| ").split(" | ", 3)
    pages = {family.base.__name__: f"[{family.name}](families/{plural}.md)"
             for plural, family in families().items() if getattr(family, "base", None)}
    own = {cls.__name__: f"[table](#{title.strip('[]').replace('.', '').lower()})"
           for title, cls in TABLES.items()}
    for name, said in (pages | own).items():
        type_ = said if type_ == name else type_.replace(f" of {name}", f" of {said}")
    if default.startswith("`{"):  # a component by its name; a table has its defaults below
        named = re.match(r'`{"type": ("\w+")', default)
        default = f"`{named[1]}`" if named and "families" in type_ else ""
    return f"| {key} | {type_} | {default} | {doc}"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE, file=sys.stderr)


if __name__ == "__main__":
    main()
