"""Two texts in one sequence."""

from __future__ import annotations

from torch import nn

from polytask.model.pairings.contract import Alone, BothOrders, Pairing, pairing


@pairing
class CrossEncoder(Pairing):
    """Two texts in one sequence, so that each token attends to both.

    Formula: [CLS] first [SEP] second [SEP], shortened longest first

    Inputs: pooled (rows, width); gives u and vector, the same (rows, width). With `symmetric` pooled is
    (2·rows, width), w of the pair and w' of the pair exchanged in turn, and u = (w + w')/2.

    Source: Devlin et al. 2019, BERT; T-16, T-17 (without and with the separator), P-3, S-7 (with
    segments).
    """

    texts = 2

    separator: bool = True
    """Whether [SEP] stands between the two texts; triple-threat's best has none (T-18)."""
    segments: bool = True
    """Whether the tokens of the second text have segment 1; without, all have 0."""
    symmetric: bool = False
    """Whether the pair is read in both orders, so that a and b answer as b and a do; twice the tokens."""

    @property  # the contract has a plain attribute, which most pairings set once for all
    def sequences(self) -> int:  # type: ignore[override]
        return 2 if self.symmetric else 1

    @property
    def two_vectors(self) -> bool:
        return False

    def build(self, encoder_width: int) -> nn.Module:
        return BothOrders() if self.symmetric else Alone()
