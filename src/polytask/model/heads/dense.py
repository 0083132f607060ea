"""What heads made of dense layers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from polytask.model.output import Output

Activation = Literal["relu", "leaky_relu", "gelu", "tanh"]

_ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh,
}


class Dense(nn.Module):
    """The module of a head that sees the row's vector: layers one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, output: Output) -> Tensor:
        return _squeezed(self.layers(output.field("vector")))


def _squeezed(values: Tensor) -> Tensor:
    return values.squeeze(-1) if values.shape[-1] == 1 else values
