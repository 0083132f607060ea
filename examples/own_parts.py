"""A custom component for every family but adapters: a class (or function) with the family's decorator.

A config names a component by its file, which may be beside the config or in the current folder:
`loss = { type = "own_parts:Focal", gamma = 1.0 }`. own_parts.toml trains with all of them.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

import polytask as pk


@pk.loss
class Focal:
    """Cross-entropy that fades on easy rows (Lin et al. 2017, eq. 5)."""

    input_field = "logits"  # the field of Output that the loss reads; "pair" for u and v
    gamma: float = 2.0
    """How quickly rows that are already right stop counting."""

    def outputs(self, labels):  # how many outputs the head needs
        return labels.num_classes

    def problem(self, context):  # why the loss cannot learn from a task with these labels, or None
        labels = context.labels
        if labels.kind not in ("classes", "ordinal", "binary"):
            return f'"own_parts:Focal" needs one class a row, but the labels are {labels.kind}'
        return None

    def __call__(self, output, target):  # logits (rows, classes), target (rows,) -> 0-dim
        log_p = output.logits.float().log_softmax(-1).gather(1, target[:, None]).squeeze(1)
        return -((1 - log_p.exp()) ** self.gamma * log_p).mean()


@pk.metric("classes", "ordinal", "binary")
def calibration(predicted, true, scores):  # (rows,), (rows,), (rows, classes) -> a number
    """How close the mean confidence is to the accuracy: 1 if they are equal."""
    return 1 - abs(float(scores.max(1).mean() - (predicted == true).mean()))


@pk.pooling
class FirstTwo:
    """The mean of the first two tokens' states; for a one-token sequence, that token's state."""

    def pool(self, hidden, batch, encoder):  # (tokens, width) -> (sequences, width)
        second = [min(start + 1, end - 1) for start, end in pairwise(batch.starts)]
        return (hidden[batch.first] + hidden[second]) / 2


class Product(nn.Module):
    def forward(self, pooled):  # (2 · rows, width), u and v alternating
        u, v = pooled.view(-1, 2, pooled.shape[-1]).unbind(1)
        return pk.Output(u=u, v=v, vector=u * v)


@pk.pairing
class Multiplied:
    """Two texts encoded separately; the head sees the product of their vectors."""

    sequences = 2  # per row
    texts = 2      # columns read per row

    def build(self, encoder_width):
        return Product()


class Answer(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, output):  # -> (rows, outputs), or (rows,) for a single output
        return self.linear(self.norm(output.vector)).squeeze(-1)


@pk.head
class Normed:
    """A LayerNorm before the linear layer."""

    def build(self, width, outputs, shared):
        return Answer(width, outputs)


@pk.schedule
class Shuffled:
    """One task per step, in an order reshuffled each epoch; every full batch once."""

    def plan(self, rows, batch_size, epoch, epochs, rng):
        order = [task for task in rows for _ in range(rows[task] // batch_size[task])]
        rng.shuffle(order)
        for task in order:
            yield {task: [batch_size[task]]}


class Square(pk.weightings.WeightingModule):
    affine = False  # the weighted loss is not of the form a·t + b in the loss t

    def forward(self, losses):  # {task: 0-dim} -> {task: 0-dim}, whose sum is minimised
        return {task: loss.square() for task, loss in losses.items()}


@pk.weighting
class Squared:
    """Each loss squared, so the largest loss counts most."""

    def build(self, tasks, kinds):
        return Square(tasks)


@pk.surgery
class Equal:
    """Scales every task's gradient to the same length, then sums them."""

    def weights(self, gramian, generator):  # (tasks, tasks) inner products -> (tasks,)
        return gramian.diagonal().clamp_min(1e-12).rsqrt()


class Centre(pk.regularizers.Penalty):
    def penalty(self, context):  # -> 0-dim, before the regularizer's weight is applied
        return context.output.vector.mean(0).square().sum()


@pk.regularizer
class Centred:
    """Keeps the mean vector of a task's rows close to zero."""

    def build(self, model):
        return Centre()
