"""Mutations of texts, bytes and nested values, all drawn from one seeded generator."""

from __future__ import annotations

import copy
import datetime
import random
from collections.abc import Iterator
from typing import Any

EVIL = "spare_evil"
"""A module that lies in every folder which is tried, and leaves a mark when it is run."""

Path = tuple[Any, ...]


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# Values that some key, somewhere, does not expect. Numbers at the edges of every type, texts that are
# paths, modules or nothing, and containers of odd sizes.
EXTREMES: tuple[Any, ...] = (
    0, 1, -1, 2, 7, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 10**30, 10**400,
    0.0, -0.0, 0.5, 1e-320, 1e-45, 1.0, 3.4e38, 1e39, 1e308, -1e308,
    float("nan"), float("inf"), float("-inf"),
    True, False, "", " ", "\n", "\0", "a" * 100_000, "../../x", "..", ".", "/", "/dev/zero", "/dev/stdin",
    "~nobody-of-this-name/x", "\u202e\U0001d518é", "<script>alert(1)</script>", ".a:x", "os:system",
    "a:b:c",
    f"{EVIL}:Evil", "torchjd:Nothing", "hf://a/b", "sample", "minilm", "nan", "1e999", "mean", "sum",
    "a" * 101, "%s%n{0}{a.b}", [], [[]], [0], [-1], [1, 2, 3], [float("nan")], ["a"] * 1000, ["a", "a"],
    [{}], {}, {"type": "x"}, {"": ""}, {"a": {"a": {"a": 1}}}, {"../../x": 1}, _deep(40), _deep(200),
)
ONLY_TOML = (datetime.date(1, 1, 1), datetime.time(0, 0), datetime.datetime(9999, 12, 31))
ONLY_JSON = (None, 10**6000)

TEXTS = ("[" * 5000, "{a=" * 500, '"""', "'", "\0", "\ufeff", "\r", "\n\n", "=", ".", "#", "1" * 5000,
         "0x" + "f" * 5000, "nan", "-inf", "1e999999", "\u2028", "][", "}{", "\\u0000", "\\ud800", ",,,,",
         '"' * 3, "a.b.c.d.e = 1\n", "[a]\n[a]\n", "true", "null", "\t", " " * 10_000)


def leaves(value: Any, at: Path = ()) -> Iterator[Path]:
    """Yield the path of every value in a nested one, its containers included."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*at, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value[:20]):
            yield from leaves(inner, (*at, place))


def get(value: Any, path: Path) -> Any:
    """Return the value at a path."""
    for part in path:
        value = value[part]
    return value


def mutated(random_: random.Random, value: Any, more: tuple[Any, ...]) -> tuple[Any, str]:
    """Return a copy of a nested value with one or two changes, and what they are."""
    value, told = copy.deepcopy(value), []
    for _ in range(random_.choice((1, 1, 1, 2))):
        paths = list(leaves(value))
        if not paths:
            break
        path = random_.choice(paths)
        parent, key = get(value, path[:-1]), path[-1]
        what = random_.choices(("set", "delete", "swap", "add"), (12, 2, 2, 1))[0]
        if what == "delete":
            del parent[key]
        elif what == "swap":
            parent[key] = copy.deepcopy(get(value, random_.choice(paths)))
        elif what == "add" and isinstance(parent, dict):
            parent[random_.choice(("", "x", "type", "../x", "a" * 200, "é"))] = random_.choice(EXTREMES)
        else:
            parent[key] = copy.deepcopy(random_.choice((*EXTREMES, *more)))
        told.append(f"{what} {'.'.join(map(str, path))}")
    return value, ", ".join(told)


def mutated_text(random_: random.Random, text: str) -> str:
    """Return a text with some of its characters or lines replaced, doubled, cut or left out."""
    for _ in range(random_.choice((1, 1, 2, 4))):
        at = random_.randrange(len(text) + 1)
        to = min(len(text), at + random_.choice((0, 1, 1, 5, 100)))
        match random_.randrange(5):
            case 0:
                text = text[:at] + random_.choice(TEXTS) + text[to:]
            case 1:
                text = text[:at] + text[to:]
            case 2:
                text = text[:at] + text[at:to] * random_.choice((2, 50)) + text[to:]
            case 3:
                lines = text.splitlines(keepends=True)
                random_.shuffle(lines)
                text = "".join(lines)
            case _:
                rest = chr(random_.randrange(1, 0xD7FF)) + text[to:]
                text = text[:at] + ("" if random_.random() < 0.3 else rest)
    return text


def mutated_bytes(random_: random.Random, data: bytes) -> bytes:
    """Return bytes with some of them changed, cut or put in; or nothing at all, or noise."""
    match random_.randrange(8):
        case 0:
            return data[: random_.randrange(len(data) + 1)]
        case 1:
            return random_.randbytes(random_.choice((0, 1, 7, 8, 9, 1000)))
        case 2:
            at = random_.randrange(len(data) + 1)
            return data[:at] + random_.randbytes(random_.choice((1, 8, 300))) + data[at:]
        case 3:  # a length at the start that lies
            return random_.choice((b"\xff" * 8, b"\0" * 8, (2**40).to_bytes(8, "little"))) + data[8:]
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 3, 30))):
        if changed:
            changed[random_.randrange(len(changed))] = random_.randrange(256)
    return bytes(changed)
