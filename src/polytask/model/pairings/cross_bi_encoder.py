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
    and, for each of u, v, abs_diff, product, width more, and 1 for cosine). With `symmetric` there is a
    fourth, w' = f([CLS] second [SEP] first [SEP]), and the head sees (w + w')/2.

    Source: ours, of `cross_encoder` and `bi_encoder`: a checkpoint trained on pairs of sentences has
    learned its cosine, which a sequence of both texts does not show. Twice the tokens of either.
    """

    texts = 2

    features: tuple[Feature, ...] = ("abs_diff", "product", "cosine")
    """What the head sees of the two texts read apart: any of u, v, abs_diff, product, cosine."""
    separator: bool = True
    """Whether [SEP] stands between the two texts read together."""
    segments: bool = True
    """Whether the tokens of the second text have segment 1 there; without, all have 0."""
    symmetric: bool = False
    """Whether they are read together in both orders, so that with features that do not depend on the order
    (u and v do) a and b answer as b and a do; half as many tokens again."""

    def __post_init__(self) -> None:
        _check_features(self.features)

    @property  # the contract has a plain attribute, which most pairings set once for all
    def sequences(self) -> int:  # type: ignore[override]
        return 4 if self.symmetric else 3

    def width(self, encoder_width: int) -> int:
        return encoder_width + _features_width(self.features, encoder_width)

    def build(self, encoder_width: int) -> nn.Module:
        return TogetherAndApart(self.features, self.sequences)


class TogetherAndApart(nn.Module):
    """The module of a pairing with three sequences a row: the third, then features of the first two.

    Where there is a fourth, the mean of the two stands for the third.
    """

    def __init__(self, features: tuple[Feature, ...], sequences: int) -> None:
        super().__init__()
        self.features, self.sequences = features, sequences

    def forward(self, pooled: Tensor) -> Output:
        u, v, *together = pooled.view(-1, self.sequences, pooled.shape[-1]).unbind(1)  # (rows, width) each
        both = together[0] if len(together) == 1 else torch.stack(together).mean(0)
        vector = torch.cat([both, *(_feature(name, u, v) for name in self.features)], -1)
        return Output(u=u, v=v, vector=vector)

    def extra_repr(self) -> str:
        return ", ".join(self.features)
