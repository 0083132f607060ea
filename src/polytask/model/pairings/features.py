"""Features of the two vectors of a row."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from polytask.core.settings import problem
from polytask.model.output import Output

Feature = Literal["u", "v", "abs_diff", "product", "cosine"]


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
