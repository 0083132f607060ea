"""Write docs/settings.md: every config key that does not belong to a component, from the settings classes.

    python docs/settings.py

A test reads the examples as configs and compares the committed page with this script's output.
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

# Each example is merged into this config, which the page shows first.
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
    "Train in phases": ("""
[[train.phases]]
tasks = ["pairs"]
epochs = 1

[[train.phases]]
epochs = 3
surgery = "pcgrad"
optimizer = { lr = 1e-5 }
""", """
        Each phase is `[train]` with some keys changed, for all tasks or only those it names. A phase
        starts with a fresh optimizer and a restarted learning-rate schedule; `keep_optimizer = true`
        keeps the optimizer's moments from the previous phase, and the learned task weights if the
        weighting is unchanged. The best model of all phases is kept. `polytask check` shows the plan of
        each phase.
        """),
    "Continue from a run": ("""
[encoder]
checkpoint = "runs/first"

[tasks.tags]
train = "tags-train.csv"
text = "sentence"
label = "tag"
""", """
        A run used as a checkpoint supplies its encoder and pooling, the heads of tasks that both runs
        have, and its adapters if `encoder.adapter` is the same. A task that is new, or whose classes or
        range differ, starts with a fresh head, and a note says so. The new model has the tasks that this
        config names, so name the old ones again to keep them; `train.tasks = ["tags"]` then trains the new
        one alone.
        """),
    "Train part of the encoder": ("""
[encoder]
trainable = [9, 10, 11]
""", """
        A list trains these layers (counted from 0) along with the heads. With `"frozen"` every text is
        encoded once, and an epoch then costs only the heads.
        """),
    "Per-layer learning rates": ("""
[train.optimizer]
lr = 2e-5
head_lr = 1e-3
layer_decay = 0.95
layer_rates = { embeddings = 0.0, "11" = 2.0 }
""", """
        `layer_decay` sets each layer's rate to that fraction of the rate of the layer above; a factor in
        `layer_rates` multiplies it. Tables under task names, `layer_rates = { reviews = { "0" = 0.5 } }`,
        give each task its own rates: an update moves a layer at the mean rate of its tasks, and the
        tasks' gradients are summed in proportion to their rates.
        """),
    "Early stopping, EMA, the best model of each task": ("""
[train]
epochs = 20
evaluate_every = 200
early_stopping = 5
ema = 0.999
best_per_task = true
score = "0.5 * reviews.accuracy + pairs.f1"
""", """
        `score` picks the best model, saved in `model/`; with `best_per_task` each task's own best model
        is also saved, in `best/TASK/`. `ema` averages the weights over updates.
        """),
    "Large batches in little memory": ("""
[train]
batch_size = { reviews = 32, pairs = 64 }
accumulate = 4
precision = "bf16"
""", """
        The rows of an update are processed in four parts, whose gradients sum to that of the full batch.
        """),
    "Track conflicting gradients": ("""
[train]
gradient_cosines = 50
train_metrics = true
""", """
        The cosines between the tasks' gradients are recorded every 50 updates, with or without surgery,
        and plotted in the report; `train_metrics` scores the training rows as well as dev.
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
             "overridden with `--set train.epochs=5`. Components, which are named by a word or by a table "
             "with `type`, are described under [families](families).",
             "The examples below modify this config:",
             f"```toml\n{BASE.strip()}\n```"]
    for title, (toml, text) in EXAMPLES.items():
        parts += [f"## {title}", f"```toml\n{toml.strip()}\n```", reference.flowing(text)]
    parts += ["## The same in Python", f"```python\n{PYTHON.strip()}\n```",
              "`pk.train(run, \"runs/first\")` trains it."]
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
