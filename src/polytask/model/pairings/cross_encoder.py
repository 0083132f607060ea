"""Two texts in one sequence."""

from __future__ import annotations

from torch import nn

from polytask.model.pairings.contract import Alone, Pairing, pairing


@pairing
class CrossEncoder(Pairing):
    """Two texts in one sequence, so that each token attends to both.

    Formula: [CLS] first [SEP] second [SEP], shortened longest first

    Inputs: pooled (rows, width); gives u and vector, the same (rows, width).

    Source: Devlin et al. 2019, BERT; T-16, T-17 (without and with the separator), P-3, S-7 (with
    segments).
    """

    texts = 2

    separator: bool = True
    """Whether [SEP] stands between the two texts; triple-threat's best has none (T-18)."""
    segments: bool = True
    """Whether the tokens of the second text have segment 1; without, all have 0."""

    def build(self, encoder_width: int) -> nn.Module:
        return Alone()
