"""A component of one's own for each family: a class (or function) with the family's decorator.

A config names them by the file's name, which may lie beside the config or in the current folder:
`loss = { type = "own_parts:Focal", gamma = 1.0 }`. own_parts.toml trains with all of them.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

import polytask as pk


@pk.loss
class Focal:
    """Cross-entropy that fades on easy rows (Lin et al. 2017, eq. 5)."""

    input_field = "logits"  # the field of Output that is read; "pair" for u and v
    gamma: float = 2.0
    """How fast rows that are right already stop counting."""

    def outputs(self, labels):
        return labels.num_classes  # of the head

    def problem(self, labels):  # why it cannot serve these labels, or None
        if labels.kind not in ("classes", "ordinal", "binary"):
            return f'"own_parts:Focal" needs one class a row, but the labels are {labels.kind}'
        return None

    def __call__(self, output, target):  # logits (rows, classes), target (rows,) -> 0-dim
        log_p = output.logits.float().log_softmax(-1).gather(1, target[:, None]).squeeze(1)
        return -((1 - log_p.exp()) ** self.gamma * log_p).mean()


@pk.metric("classes", "ordinal", "binary")
def calibration(predicted, true, scores):  # (rows,), (rows,), (rows, classes) -> a number
    """How near the mean confidence is to the share that is right: 1 where they are equal."""
    return 1 - abs(float(scores.max(1).mean() - (predicted == true).mean()))


@pk.pooling
class FirstTwo:
    """The mean of the first two tokens' states; of a sequence of one token, that one's."""

    def pool(self, hidden, batch, encoder):  # (tokens, width) -> (sequences, width)
        second = [min(start + 1, end - 1) for start, end in pairwise(batch.starts)]
        return (hidden[batch.first] + hidden[second]) / 2


class Product(nn.Module):
    def forward(self, pooled):  # (2 · rows, width), u and v in turn
        u, v = pooled.view(-1, 2, pooled.shape[-1]).unbind(1)
        return pk.Output(u=u, v=v, vector=u * v)


@pk.pairing
class Multiplied:
    """Two texts read apart; the head sees the product of their vectors."""

    sequences = 2  # that a row becomes
    texts = 2      # columns that are read

    def build(self, encoder_width):
        return Product()


class Answer(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, output):  # (rows, outputs), or (rows,) where there is one
        return self.linear(self.norm(output.vector)).squeeze(-1)


@pk.head
class Normed:
    """A LayerNorm before the linear layer."""

    def build(self, width, outputs, shared):
        return Answer(width, outputs)


@pk.schedule
class Shuffled:
    """One task a step, in an order drawn anew each epoch; every row once."""

    def plan(self, rows, batch_size, epoch, epochs, rng):
        order = [task for task in rows for _ in range(rows[task] // batch_size[task])]
        rng.shuffle(order)
        for task in order:
            yield {task: [batch_size[task]]}


class Square(pk.weightings.WeightingModule):
    affine = False  # the weighted loss is no a·t + b of the loss t

    def forward(self, losses):  # {task: 0-dim} -> {task: 0-dim}; their sum is minimised
        return {task: loss.square() for task, loss in losses.items()}


@pk.weighting
class Squared:
    """Each loss times itself: what is worst counts most."""

    def build(self, tasks, kinds):
        return Square(tasks)


@pk.surgery
class Equal:
    """Every task's gradient at the same length, then their sum."""

    def weights(self, gramian, generator):  # (tasks, tasks) inner products -> (tasks,)
        return gramian.diagonal().clamp_min(1e-12).rsqrt()


class Centre(pk.regularizers.Penalty):
    def penalty(self, context):  # 0-dim, before the regularizer's weight
        return context.output.vector.mean(0).square().sum()


@pk.regularizer
class Centred:
    """Keeps the mean vector of a task's rows near zero."""

    def build(self, model):
        return Centre()
