"""Pairings: how one or two sentences meet the encoder, and the vector that a row's head sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from polytask.core.registry import Family
from polytask.core.settings import problem
from polytask.model.output import Output

Feature = Literal["u", "v", "abs_diff", "product", "cosine"]


class Pairing:
    """What every pairing offers. `sequences`: of the encoder, a row; `texts`: columns, a row."""

    sequences = 1
    texts = 1
    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]

        def build(self, encoder_width: int) -> nn.Module:
            """Return a module: pooled (rows·sequences, width) -> Output of u (and v) and vector."""
            raise NotImplementedError

    def width(self, encoder_width: int) -> int:
        """Return the width of `Output.vector`."""
        return encoder_width


pairing = Family("pairing", "pairings", methods=("build",), base=Pairing)


class Alone(nn.Module):
    """The module of a pairing with one sequence a row: its vector is what the head sees."""

    def forward(self, pooled: Tensor) -> Output:
        return Output(u=pooled, vector=pooled)


class Joined(nn.Module):
    """The module of a pairing with two sequences a row: features of u and v side by side."""

    def __init__(self, features: tuple[Feature, ...]) -> None:
        super().__init__()
        self.features = features

    def forward(self, pooled: Tensor) -> Output:
        rows = pooled.view(-1, 2, pooled.shape[-1])  # u₀, v₀, u₁, v₁, … -> (rows, 2, width)
        u, v = rows[:, 0], rows[:, 1]
        parts = [_feature(name, u, v) for name in self.features]
        return Output(u=u, v=v, vector=parts[0] if len(parts) == 1 else torch.cat(parts, -1))

    def extra_repr(self) -> str:
        return ", ".join(self.features)


def _feature(name: Feature, u: Tensor, v: Tensor) -> Tensor:
    match name:
        case "u":
            return u
        case "v":
            return v
        case "abs_diff":
            return (u - v).abs()
        case "product":
            return u * v
        case "cosine":
            return cosine_similarity(u.float(), v.float(), dim=-1)[:, None].to(u.dtype)  # (rows, 1)


def _check_features(features: tuple[Feature, ...]) -> None:
    if not features or len(set(features)) < len(features):
        raise problem(f"features: found {list(features)}, expected one or more of u, v, abs_diff, "
                      "product, cosine, each once")


def _features_width(features: tuple[Feature, ...], encoder_width: int) -> int:
    return sum(1 if name == "cosine" else encoder_width for name in features)


@pairing
class Single(Pairing):
    """One text, one sequence.

    Formula: [CLS] text [SEP]

    Inputs: pooled (rows, width); gives u and vector, the same (rows, width).

    Source: Devlin et al. 2019, BERT; the sentiment task of all five reports (T-2).
    """

    def build(self, encoder_width: int) -> nn.Module:
        return Alone()


@pairing
class Packed(Pairing):
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


@pairing
class Separate(Pairing):
    """Two texts in two sequences of the same pass; the head sees features of their two vectors.

    Formula: [u; v; |u − v|; u·v; cos(u, v)], those that `features` names, in its order

    Inputs: pooled (2·rows, width), u and v in turn; gives u, v (rows, width) and vector (rows,
    width for each of u, v, abs_diff, product, and 1 for cosine).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3; M-8 (u, v, abs_diff), M-12 (and cosine),
    T-15 and S-4 (u, v), P-2.

    Departs: the cosine's denominator is max(‖u‖·‖v‖, 1e-8), as torch's, where M-12 adds its ε.
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
    """What the head sees; u alone by default, because u − v is noise in training and 0 after."""

    def __post_init__(self) -> None:
        _check_features(self.features)

    def width(self, encoder_width: int) -> int:
        return _features_width(self.features, encoder_width)

    def build(self, encoder_width: int) -> nn.Module:
        return Joined(self.features)
