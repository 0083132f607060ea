"""Arithmetic over `task.metric`: numbers, + − * /, parentheses, min, max, mean and no more."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable
from statistics import fmean

from polytask.core.errors import ConfigError, nearest

Term = tuple[str, str]

_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[[list[float]], float]] = {"min": min, "max": max, "mean": fmean}
_EXPECTED = "expected numbers and task.metric joined by +, -, *, /, min, max, mean"


class Formula:
    """A formula, read and checked. `terms` are the (task, metric) pairs that it names."""

    def __init__(self, text: str, tasks: Iterable[str]) -> None:
        self.text = text
        # A task may be called "msr-para" or "is": as a whole it becomes a name that Python reads.
        self._tasks = {f"task_{number}_": task for number, task in enumerate(tasks)}
        try:
            self._tree = ast.parse(self._coded(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ConfigError(f'"{text}" is not a formula; {_EXPECTED}') from None
        self.terms: list[Term] = []
        self._check(self._tree)

    def value(self, lookup: Callable[[str, str], float]) -> float | None:
        """Return the value, None where it is not finite; `lookup(task, metric)` gives a term's."""
        try:
            value = float(self._value(self._tree, lookup))
        except ArithmeticError:
            return None
        return value if math.isfinite(value) else None

    def _is_zero(self, number: ast.expr) -> bool:
        try:
            return self._value(number, lambda *term: math.nan) == 0
        except ArithmeticError:
            return True

    def _coded(self) -> str:
        codes = {task: code for code, task in self._tasks.items()}
        if not codes:
            return self.text.strip()
        names = "|".join(map(re.escape, sorted(codes, key=len, reverse=True)))
        return re.sub(rf"(?<![\w.])({names})(?=\s*\.)", lambda m: codes[m[1]], self.text.strip())

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                return
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
                self._check(inner)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
                self._check(left)
                before = len(self.terms)
                self._check(right)
                if isinstance(op, ast.Div) and len(self.terms) == before and self._is_zero(right):
                    raise ConfigError(f'"{self.text}": {self._written(node)} divides by zero')
            case ast.Call(func=ast.Name(id=name), args=[_, *_] as several, keywords=[]) if (
                name in _FUNCTIONS
            ):
                for part in several:
                    self._check(part)
            case ast.Attribute(value=ast.Name(id=name), attr=metric):
                self.terms.append((self._task(name), metric))
            case _:
                raise ConfigError(
                    f'"{self.text}": {self._written(node)} is not allowed in a formula; {_EXPECTED}')

    def _task(self, name: str) -> str:
        if name in self._tasks:
            return self._tasks[name]
        known = self._tasks.values()
        raise ConfigError(f'"{self.text}": there is no task "{name}"{nearest(name, known)}')

    def _written(self, node: ast.expr) -> str:
        source = ast.unparse(node)
        for code, task in self._tasks.items():
            source = source.replace(code, task)
        return source

    def _value(self, node: ast.expr, lookup: Callable[[str, str], float]) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.UnaryOp(op=op, operand=inner):
                value = self._value(inner, lookup)
                return -value if isinstance(op, ast.USub) else value
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATIONS[type(op)](self._value(left, lookup), self._value(right, lookup))
            case ast.Call(func=ast.Name(id=name), args=several):
                return _FUNCTIONS[name]([self._value(operand, lookup) for operand in several])
            case ast.Attribute(value=ast.Name(id=name), attr=metric):
                return lookup(self._tasks[name], metric)
        raise AssertionError(node)  # _check lets nothing else through
