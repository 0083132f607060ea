"""SMART (Jiang et al. 2020): when the input, or the model, moves a little, so does the output."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from polytask.data.labels import Labels
from polytask.learn.regularizers.context import Forward, RegularizerContext
from polytask.learn.regularizers.contract import Penalty, Regularizer, regularizer
from polytask.model.output import Output

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@regularizer
class SMART(Regularizer):
    """Asks for the same answer when noise, chosen to change it most, is added to the embeddings.

    Formula: R = 1/n sum_i max over |x'_i - x_i| <= radius of d(f(x'_i), f(x_i)), plus
    bregman · 1/n sum_i d(f(x_i), f~(x_i)), where f~ is the model with weights averaged over the
    updates, w~ = momentum · w~ + (1 - momentum) · w. For logits d is the symmetric
    Kullback-Leibler divergence, sum_c (p_c - q_c)(log p_c - log q_c), with the softmax, or with
    the sigmoid where each logit stands for itself (binary with one logit, multi-label); for scores
    it is the squared difference.

    Inputs: word embeddings (tokens, width) of one task's draw, and its output: logits (rows,
    classes) or (rows,), or a score (rows,). Each ascent step is a forward and a backward pass more,
    the penalty another, the averaged model one forward.

    Source: Jiang et al. 2020, equations 1 to 5 and algorithm 1 (L-4); mfrr §4.2.2 (M-23), surgery
    §4 and appendix A (G-4 to G-6), practices §4.8 (P-12, P-13).

    Departs: practices prints the perturbation on the weights; the embeddings are meant (PX-2). The
    clean, the perturbed and the averaged pass drop the same units, so that without noise, and
    before the first update, the penalty is zero. As the formulas are printed, d is averaged over the rows
    and the gradient runs through both sides of it. The released code of smart-pytorch sums over the
    batch (`reduction = "sum"`: at 8 rows, eight times as much) and takes the probabilities that weigh the
    logarithms for constants (`detach = true`: half the gradient, the same value); with both, a `weight`
    is what it is there.
    `projection = "scale"` is what the released code does, the authors' and smart-pytorch, which the
    reports used: the raw gradient times the step size is added, and the noise of each token is
    divided by its largest entry, so that it ends at `radius` = 1 however small it began, some ten
    times the size of a BERT word embedding's entries; epsilon only guards that division.
    `projection = "clip"` is the paper's algorithm: the gradient of each token is divided by its
    largest entry, and the noise is clipped to [-radius, radius] (the paper's radius is 1e-5).
    """

    perturbs = True

    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-5
    """Standard deviation of the noise at the start of the ascent."""
    step_size: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-3
    """How far an ascent step moves the noise along the gradient."""
    epsilon: Positive = 1e-6
    """Added to a norm before dividing by it."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Ascent steps."""
    projection: Literal["scale", "clip"] = "scale"
    """Whether a step ends with the noise scaled to the radius, or clipped to it."""
    radius: Positive = 1.0
    """The largest entry of a token's noise: what it is scaled to ("scale") or clipped to ("clip")."""
    reduction: Literal["mean", "sum"] = "mean"
    """Whether d is averaged over the rows of a draw, or summed."""
    detach: bool = False
    """Whether the probabilities in d (for scores: the unperturbed score) are treated as constants."""
    bregman: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Weight of the proximal half beside the smoothness half; 0: no averaged copy is kept."""
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Share of the averaged copy that each update keeps."""

    def problem(self, tasks: Collection[str], model: Any = None, sharded: bool = False) -> str | None:
        if mistake := super().problem(tasks, model, sharded):
            return mistake
        return ('"smart" with bregman keeps a whole copy of the model; set train.parallel = "replicate"'
                if sharded and self.bregman else None)

    def build(self, model: Any) -> Penalty:
        return SmartPenalty(self, model)


class _Draw(NamedTuple):
    """The parts of a context that are needed, none of them absent."""

    labels: Labels
    embeddings: Tensor
    output: Output
    forward: Forward


class SmartPenalty(Penalty):
    """The penalty and, with a proximal half, the averaged copy of the model."""

    teacher: nn.Module | None

    def __init__(self, settings: SMART, model: nn.Module) -> None:
        super().__init__()
        self.settings = settings
        self._followed = (model,)  # in a tuple: the trained model is not part of this one's state
        self.teacher = copy.deepcopy(model).requires_grad_(False) if settings.bregman else None

    def penalty(self, context: RegularizerContext) -> Tensor:
        draw = _draw(context)
        moved = draw.forward(draw.embeddings + self._noise(draw, context))
        penalty = self._reduced(divergence(moved, draw.output, draw.labels, self.settings.detach), context)
        if self.teacher is None:
            return penalty
        self.teacher.train(context.model.training)
        return penalty + self.settings.bregman * self._distance(draw, self.teacher, context)

    def _reduced(self, values: Tensor, context: RegularizerContext) -> Tensor:
        # The step multiplies by the share: what was cut into chunks adds up to the whole microbatch's sum.
        return values.mean() if self.settings.reduction == "mean" else values.sum() / context.share

    def _noise(self, draw: _Draw, context: RegularizerContext) -> Tensor:
        """Return noise (tokens, width) that moves the output much: gradient ascent on d."""
        clean, embeddings = _detached(draw.output), draw.embeddings.detach()
        noise = context.normal(embeddings) * self.settings.noise
        for _ in range(self.settings.steps):
            noise.requires_grad_()
            with torch.enable_grad():
                moved = draw.forward(embeddings + noise)
                # The sum: each row climbs by its own slope, whatever the number of rows.
                distance = divergence(moved, clean, draw.labels).sum()
            (slope,) = torch.autograd.grad(distance, noise)
            noise = self._project(noise.detach(), slope)
        return noise

    def _project(self, noise: Tensor, slope: Tensor) -> Tensor:
        own = self.settings
        if own.projection == "clip":
            moved = noise + own.step_size * _unit(slope, own.epsilon)
            return moved.clamp_(-own.radius, own.radius)
        return own.radius * _unit(noise + own.step_size * slope, own.epsilon)

    def _distance(self, draw: _Draw, teacher: nn.Module, context: RegularizerContext) -> Tensor:
        # Not under no_grad: the encoder draws its masks otherwise there. No graph is made all the
        # same, because nothing in the averaged copy asks for a gradient.
        before = draw.forward(None, teacher)
        return self._reduced(divergence(draw.output, before, draw.labels, self.settings.detach), context)

    @torch.no_grad()
    def after_step(self) -> None:
        """Let the averaged copy follow the model."""
        if self.teacher is None:
            return
        (model,) = self._followed
        torch._foreach_lerp_(list(self.teacher.parameters()), list(model.parameters()),
                             1 - self.settings.momentum)


def _draw(context: RegularizerContext) -> _Draw:
    assert context.labels is not None
    assert context.embeddings is not None
    assert context.output is not None
    assert context.forward is not None
    return _Draw(context.labels, context.embeddings, context.output, context.forward)


def _unit(x: Tensor, epsilon: float) -> Tensor:
    """Divide each token's row by its largest entry: (tokens, width)."""
    return x / (x.abs().amax(-1, keepdim=True) + epsilon)


def _detached(output: Output) -> Output:
    """Return what the output says, cut off from its graph."""
    return Output(logits=None if output.logits is None else output.logits.detach(),
                  score=None if output.score is None else output.score.detach())


def divergence(one: Output, other: Output, labels: Labels, detach: bool = False) -> Tensor:
    """Return how far apart two outputs are in each row: (rows,), float32.

    Every term of the symmetric divergence is a product of two differences of one sign, so it is
    never negative, not even by rounding, and exactly zero where the outputs are equal. `detach`: the
    differences of probabilities are constants, as in KL(sg(p) ‖ q) + KL(sg(q) ‖ p), whose value and
    gradient that is; of scores the `other` one is.
    """
    if one.logits is None or other.logits is None:
        target = other.field("score").float()
        return (one.field("score").float() - (target.detach() if detach else target)).square()
    a, b = one.logits.float(), other.logits.float()
    if a.dim() == 1 or labels.kind == "multi-label":
        apart = a.sigmoid() - b.sigmoid()
        terms = (apart.detach() if detach else apart) * (a - b)
        return terms if terms.dim() == 1 else terms.sum(-1)
    p, q = a.log_softmax(-1), b.log_softmax(-1)
    apart = p.exp() - q.exp()
    return ((apart.detach() if detach else apart) * (p - q)).sum(-1)
