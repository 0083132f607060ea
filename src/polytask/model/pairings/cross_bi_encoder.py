"""Two texts, together in one sequence and each in its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polytask.model.output import Output
from polytask.model.pairings.contract import Pairing, pairing
from polytask.model.pairings.features import Feature, _check_features, _feature, _features_width


@pairing
class CrossBiEncoder(Pairing):
    """Two texts read together and apart in the same pass: the head sees the sequence that holds both, and
    features of the two that hold one.

    Formula: [w; features of u and v], where u = f([CLS] first [SEP]), v = f([CLS] second [SEP]) and
    w = f([CLS] first [SEP] second [SEP])

    Inputs: pooled (3·rows, width), u, v and w in turn; gives u, v (rows, width) and vector (rows, width
    and, for each of u, v, abs_diff, product, width more, and 1 for cosine).

    Source: ours, of `cross_encoder` and `bi_encoder`: a checkpoint trained on pairs of sentences has
    learned its cosine, which a sequence of both texts does not show. Twice the tokens of either.
    """

    sequences = 3
    texts = 2

    features: tuple[Feature, ...] = ("abs_diff", "product", "cosine")
    """What the head sees of the two texts read apart: any of u, v, abs_diff, product, cosine."""
    separator: bool = True
    """Whether [SEP] stands between the two texts read together."""
    segments: bool = True
    """Whether the tokens of the second text have segment 1 there; without, all have 0."""

    def __post_init__(self) -> None:
        _check_features(self.features)

    def width(self, encoder_width: int) -> int:
        return encoder_width + _features_width(self.features, encoder_width)

    def build(self, encoder_width: int) -> nn.Module:
        return TogetherAndApart(self.features)


class TogetherAndApart(nn.Module):
    """The module of a pairing with three sequences a row: the third, then features of the first two."""

    def __init__(self, features: tuple[Feature, ...]) -> None:
        super().__init__()
        self.features = features

    def forward(self, pooled: Tensor) -> Output:
        u, v, both = pooled.view(-1, 3, pooled.shape[-1]).unbind(1)  # (rows, width) each
        vector = torch.cat([both, *(_feature(name, u, v) for name in self.features)], -1)
        return Output(u=u, v=v, vector=vector)

    def extra_repr(self) -> str:
        return ", ".join(self.features)
