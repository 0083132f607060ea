"""Two texts, each in a sequence of its own."""

from __future__ import annotations

from torch import nn

from polytask.model.pairings.contract import Pairing, pairing
from polytask.model.pairings.features import Feature, Joined, _check_features, _features_width


@pairing
class BiEncoder(Pairing):
    """Two texts in two sequences of the same pass; the head sees features of their two vectors.

    Formula: [u; v; |u − v|; u·v; cos(u, v)], those that `features` names, in its order

    Inputs: pooled (2·rows, width), u and v in turn; gives u, v (rows, width) and vector (rows,
    width for each of u, v, abs_diff, product, and 1 for cosine).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3; M-8 (u, v, abs_diff), M-12 (and cosine),
    T-15 and S-4 (u, v), P-2.

    Departs: each norm in the cosine's denominator is at least 1e-8, as torch's, where M-12 adds its ε.
    """

    sequences = 2
    texts = 2

    features: tuple[Feature, ...] = ("u", "v", "abs_diff")
    """What the head sees: any of u, v, abs_diff, product, cosine."""

    def __post_init__(self) -> None:
        _check_features(self.features)

    def width(self, encoder_width: int) -> int:
        return _features_width(self.features, encoder_width)

    def build(self, encoder_width: int) -> nn.Module:
        return Joined(self.features)
