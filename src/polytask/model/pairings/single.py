"""One text in one sequence."""

from __future__ import annotations

from torch import nn

from polytask.model.pairings.contract import Alone, Pairing, pairing


@pairing
class Single(Pairing):
    """One text, one sequence.

    Formula: [CLS] text [SEP]

    Inputs: pooled (rows, width); gives u and vector, the same (rows, width).

    Source: Devlin et al. 2019, BERT; the sentiment task of all five reports (T-2).
    """

    def build(self, encoder_width: int) -> nn.Module:
        return Alone()
