"""One text, encoded twice under dropout."""

from __future__ import annotations

from torch import nn

from polytask.model.pairings.contract import Pairing, pairing
from polytask.model.pairings.features import Feature, Joined, _check_features, _features_width


@pairing
class Twin(Pairing):
    """One text encoded twice in the same pass: two vectors that differ by their dropout alone.

    Formula: u = f(text; dropout mask 1), v = f(text; dropout mask 2)

    Inputs: pooled (2·rows, width), u and v in turn; gives u, v (rows, width) and vector. Without
    dropout (an evaluation) u equals v.

    Source: Gao et al. 2021, SimCSE, §3 (unsupervised); P-9, P-10.
    """

    sequences = 2
    texts = 1

    features: tuple[Feature, ...] = ("u",)
    """What the head sees; u alone by default, because u − v is noise in training and 0 afterwards."""

    def __post_init__(self) -> None:
        _check_features(self.features)

    def width(self, encoder_width: int) -> int:
        return _features_width(self.features, encoder_width)

    def build(self, encoder_width: int) -> nn.Module:
        return Joined(self.features)
