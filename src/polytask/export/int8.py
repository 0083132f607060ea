"""An exported graph in int8, by standard operations: a scale for each row of what enters a product.

    s = max|x| / 127 of each token,  q = round(x / s) + 128 (uint8),  y = (q − 128) w · columns · s + bias

A scale for the whole input, as ONNX Runtime's dynamic quantization has it, makes a text's answer depend on
what else is in the batch; with a scale for each row it does not, and products of integers are exact.
Weights keep seven bits: without VNNI a processor adds two products of eight bits in sixteen, which would
overflow. Heads of a few outputs stay in float32, where they cost nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, MissingExtra

OPSET = 21
LEAST_OUTPUTS = 64
LEAST_TABLE = 1024
_WEIGHT_LEVELS = 63
_MIDDLE = 128


def quantized(proto: Any) -> Any:
    """Return a copy of an exported graph with its products and its word table in int8.

    Products with fewer than `LEAST_OUTPUTS` outputs stay as they are. Raises `ConfigError` for a graph
    without any product of a constant over rows of tokens.
    """
    quantized = copy.deepcopy(proto)
    for opset in quantized.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, OPSET)
    rewriter = _Rewriter(quantized.graph)
    rewriter.run()
    if not rewriter.products:
        raise ConfigError("--int8: the graph has no product of tokens with constant weights in a flat "
                          "batch; export it without --int8")
    return quantized


class _Rewriter:
    """One pass over the nodes of a graph."""

    def __init__(self, graph: Any) -> None:
        try:
            from onnx import helper, numpy_helper
        except ImportError:
            raise MissingExtra("--int8", "export") from None
        self.helper, self.numpy = helper, numpy_helper
        self.graph = graph
        self.constants = {constant.name: constant for constant in graph.initializer}
        self.added: dict[str, Any] = {}
        self.products = 0

    def run(self) -> None:
        self._constant("int8/levels", np.array(127, np.float32))
        self._constant("int8/tiny", np.array(1e-30, np.float32))
        self._constant("int8/middle", np.array(_MIDDLE, np.uint8))
        self._constant("int8/last_axis", np.array([-1], np.int64))
        self._constant("int8/flat", np.array([-1], np.int64))
        nodes = [new for node in self.graph.node for new in self._rewritten(node)]
        if self.products:
            nodes = [*self._one(), *nodes]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input} | {value.name for value in self.graph.output}
        kept = [value for value in [*self.graph.initializer, *self.added.values()] if value.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _one(self) -> Iterator[Any]:
        """Compute 1 from the size of the input: ONNX Runtime would multiply a constant into the columns'
        scales, and then not find the pattern of its fused node."""
        make = self.helper.make_node
        yield make("Size", [self.graph.input[0].name], ["int8/size"])
        yield make("Sign", ["int8/size"], ["int8/sign"])
        yield make("Cast", ["int8/sign"], ["int8/one"], to=1)

    def _rewritten(self, node: Any) -> Iterator[Any]:
        weight = self._weight(node)
        if weight is not None:
            self.products += 1
            yield from self._product(node, weight)
        elif self._is_table(node):
            yield from self._table(node)
        else:
            yield node

    def _weight(self, node: Any) -> NDArray[np.float32] | None:
        """Return the constant (inputs, outputs) of a product that is to be in int8."""
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in self.constants:
            return None
        settings = {entry.name: self.helper.get_attribute_value(entry) for entry in node.attribute}
        if settings.get("transA") or settings.get("alpha", 1) != 1 or settings.get("beta", 1) != 1:
            return None
        if node.op_type == "MatMul":
            return None  # in a flat batch every linear layer is a Gemm; a MatMul has inputs of any rank
        weight: NDArray[np.float32] = self.numpy.to_array(self.constants[node.input[1]])
        weight = weight.T if settings.get("transB") else weight
        return weight if weight.shape[1] >= LEAST_OUTPUTS else None

    def _product(self, node: Any, weight: NDArray[np.float32]) -> Iterator[Any]:
        x, source, out = node.input[0], node.input[1], node.output[0]
        if f"{source}/int8" not in self.added:
            columns = np.maximum(np.abs(weight).max(0) / _WEIGHT_LEVELS, 1e-30).astype(np.float32)
            self._constant(f"{source}/int8", np.round(weight / columns).astype(np.int8))
            self._constant(f"{source}/columns", columns)
        at = f"{out}/int8"
        make = self.helper.make_node
        # The largest of |x| without writing |x| down.
        yield make("ReduceMax", [x, "int8/last_axis"], [f"{at}/highest"], keepdims=1)
        yield make("ReduceMin", [x, "int8/last_axis"], [f"{at}/lowest"], keepdims=1)
        yield make("Neg", [f"{at}/lowest"], [f"{at}/deepest"])
        yield make("Max", [f"{at}/highest", f"{at}/deepest"], [f"{at}/largest"])
        yield make("Div", [f"{at}/largest", "int8/levels"], [f"{at}/unbounded"])
        yield make("Max", [f"{at}/unbounded", "int8/tiny"], [f"{at}/rows"])
        yield make("Reshape", [f"{at}/rows", "int8/flat"], [f"{at}/scales"])
        yield make("Shape", [f"{at}/scales"], [f"{at}/shape"])
        yield make("Expand", ["int8/middle", f"{at}/shape"], [f"{at}/middles"])
        yield make("QuantizeLinear", [x, f"{at}/scales", f"{at}/middles"], [f"{at}/q"], axis=0)
        yield make("MatMulInteger", [f"{at}/q", f"{source}/int8", "int8/middle"], [f"{at}/sum"])
        yield make("Cast", [f"{at}/sum"], [f"{at}/float"], to=1)
        # With one scale for the whole input, here 1, ONNX Runtime computes MatMulInteger, Cast and Mul as
        # one node, whose scaling costs no pass over the memory. The scales of rows are never part of that
        # Mul: they would be taken for one scale, and the answers be silently wrong.
        yield make("Mul", ["int8/one", f"{source}/columns"], [f"{at}/scaling"])
        yield make("Mul", [f"{at}/float", f"{at}/scaling"], [f"{at}/by_column"])
        biased = len(node.input) > 2 and bool(node.input[2])
        yield make("Mul", [f"{at}/by_column", f"{at}/rows"], [f"{at}/by_row" if biased else out])
        if biased:
            yield make("Add", [f"{at}/by_row", node.input[2]], [out])

    def _is_table(self, node: Any) -> bool:
        if node.op_type != "Gather" or node.input[0] not in self.constants:
            return False
        shape = list(self.constants[node.input[0]].dims)
        return len(shape) == 2 and shape[0] >= LEAST_TABLE and self.constants[node.input[0]].data_type == 1

    def _table(self, node: Any) -> Iterator[Any]:
        source, ids, out = node.input[0], node.input[1], node.output[0]
        if f"{source}/int8" not in self.added:
            table = self.numpy.to_array(self.constants[source])
            scales = np.maximum(np.abs(table).max(1, keepdims=True) / 127, 1e-30).astype(np.float32)
            self._constant(f"{source}/int8", np.round(table / scales).astype(np.int8))
            self._constant(f"{source}/rows", scales)
        at = f"{out}/int8"
        make = self.helper.make_node
        yield make("Gather", [f"{source}/int8", ids], [f"{at}/q"])
        yield make("Gather", [f"{source}/rows", ids], [f"{at}/scales"])
        yield make("Cast", [f"{at}/q"], [f"{at}/float"], to=1)
        yield make("Mul", [f"{at}/float", f"{at}/scales"], [out])

    def _constant(self, name: str, value: NDArray[Any]) -> None:
        self.added[name] = self.numpy.from_array(np.ascontiguousarray(value), name)
