"""The head whose first layer belongs to several tasks."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from polytask.core.errors import ConfigError
from polytask.core.settings import problem
from polytask.model.dropout import Dropout
from polytask.model.heads.contract import Head, head, layer_problem
from polytask.model.heads.dense import _ACTIVATIONS, Activation, _squeezed
from polytask.model.names import module_name_problem
from polytask.model.output import Output


class SharedHead(nn.Module):
    """The module of a `shared` head. Its first layer belongs to `MultiTask.shared`, not to it."""

    def __init__(self, first: nn.Module, dropout: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.dropout, self.rest = dropout, rest
        # In a tuple, so that the layer is not a submodule here: it is counted and saved once.
        self._first = (first,)

    def forward(self, output: Output) -> Tensor:
        return _squeezed(self.rest(self._first[0](self.dropout(output.field("vector")))))


@head
class Shared(Head):
    """Two linear layers, the first one and the same in every task that names it.

    Formula: W₂·dropout(σ(W₁·dropout(x) + b₁)) + b₂, W₁ and b₁ common to the tasks of one `layer`

    Inputs: vector (rows, width), equally wide in all tasks of a layer; gives (rows, outputs), or
    (rows,) for one output.

    Source: M-12 (paraphrase and STS over u, v, |u − v| and their cosine), S-15.

    Departs: M-12 prints a softmax after the last layer for every task; here the loss has it.
    """

    layer: str = "shared"
    """Name of the common layer."""
    hidden: int = Field(default=256, gt=0, le=65_536)
    """Width of the common layer's output."""
    activation: Activation = "leaky_relu"
    """The σ of the formula: relu, leaky_relu (slope 0.01), gelu or tanh."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability that an element of the vector is dropped, before the common layer."""
    hidden_dropout: float | None = Field(default=None, ge=0, lt=1)
    """The same before the task's own layer; absent: as `dropout`."""

    def __post_init__(self) -> None:
        if mistake := module_name_problem(self.layer):
            raise problem(f"layer: {self.layer!r} {mistake}")

    def shared_layers(self, width: int) -> dict[str, tuple[int, ...]]:
        return {self.layer: (width, self.hidden)}

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        if self.layer not in shared:
            shared[self.layer] = nn.Linear(width, self.hidden)
        first = shared[self.layer]
        assert isinstance(first, nn.Linear)
        present = (first.in_features, first.out_features)
        if mistake := layer_problem(self.layer, present, (width, self.hidden)):
            raise ConfigError(f"head: {mistake}")
        between = self.dropout if self.hidden_dropout is None else self.hidden_dropout
        rest = nn.Sequential(_ACTIVATIONS[self.activation](), Dropout(between),
                             nn.Linear(self.hidden, outputs))
        return SharedHead(first, Dropout(self.dropout), rest)
