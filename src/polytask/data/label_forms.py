"""One label as a file writes it: no label at all, a number, a name, or a list of names.

Nothing here looks at more than one label; what a column of them means is told by `label_inference`.
"""

from __future__ import annotations

import ast
import json
import math
import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

# What software writes for a value that is not there (pandas, numpy, JSON, Python, MySQL).
WRITTEN_MISSING = frozenset({"NaN", "nan", "null", "NULL", "None", "NaT", "<NA>", "\\N"})
# What people write for it. Among words these are words ("none" is a stance); among numbers they are none.
MARKED_MISSING = frozenset({"na", "n/a", "#n/a", "nan", "none", "null", "nil", "nat", "<na>", "?", "-",
                            "--", "–", "."})
# Marks that are hardly ever meant as a class, even among words, in any case; "NONE" is a stance.
SUSPECT = frozenset({"?", "-", "--", "–", ".", "na", "n/a", "#n/a", "nan", "null", "<na>"})

LIST_FORMS = 'a|b, ["a", "b"], [\'a\', \'b\'], [\'a\' \'b\'] or a vector such as [1, 0]'

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0\d", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[,.]\d{3}", re.ASCII)
# A number as people write it: 10%, $1.50, 1.200,50, −1.
_DRESSED = re.compile(r"[€$£¥]?\s?[+\-\u2212\u2013]?\s?\d[\d.,'\u2019\u00a0\u202f]*\s?[%\u2030€$£¥]?")
_ARRAY = re.compile(r"(?:array|tensor|Index|dict_keys|set|frozenset|tuple|list)\((.*?)"
                    r"(?:,\s*dtype=[\w'<>|.]+)?\)", re.DOTALL)
# An item as numpy 2 writes it: np.str_('joy'), np.int64(3).
_SCALAR = re.compile(r"""np\.(?:str_|u?int\d+|float\d+)\("""
                     r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\d.e+-]+)\)""")
# How a list begins, perhaps in quotes of its own or behind the name of what holds it, and what no name of
# one class in brackets has: commas, quotes, dots, more brackets.
_OPENS_LIST = re.compile(r"""["']?\s*(?:[A-Za-z_.]+\()?\[.*(?:[,"'\[{(\\]|\.\.\.)""", re.DOTALL)
_ROUND_LIST = re.compile(r"[({][^(){}:]+,[^(){}:]+[)}]")
_BARE_VECTOR = re.compile(r"[01](?:\.0?)?(?:[ \t]+[01](?:\.0?)?)+|[01](?:,[ ]?[01]){2,}")
_TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,"']+)\s*(,?)""", re.DOTALL)
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_BOOLEANS = {"true": "1", "false": "0"}


def is_blank(label: str) -> bool:
    """Return whether a label shows nothing: blanks of any alphabet, invisible and control characters."""
    return not label.strip() or all(unicodedata.category(character)[0] in "ZC" for character in label)


def number(label: str) -> float | None:
    """Return a label as a finite number, or None."""
    if not _NUMBER.fullmatch(label):
        return None
    value = float(label)
    return value if math.isfinite(value) else None


def decimal_comma(label: str) -> float | None:
    """Return "3,5" as 3.5, or None if the label is not such a number."""
    return number(label.replace(",", ".")) if _DECIMAL_COMMA.fullmatch(label) else None


def is_dressed_number(label: str) -> bool:
    """Return whether a label is a number with a sign that Python's have not: "10%", "$1.50", "1.200,50"."""
    return number(label) is None and _DRESSED.fullmatch(label) is not None


def look(label: str) -> str:
    """Return what labels share that can hardly be told apart: blanks, capitals and composition aside."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    return " ".join("".join(character for character in folded
                            if unicodedata.category(character) != "Cf").split())


def may_be_thousands(label: str) -> bool:
    """Return whether a comma, or a point, may separate thousands: "1,250", "1.250"."""
    return _THOUSANDS.fullmatch(label) is not None


def is_code(label: str) -> bool:
    """Return whether digits are a name: "007" is not 7."""
    return _LEADING_ZERO.match(label) is not None and label.isascii()


def canonical(label: str) -> str:
    """Return the one spelling of a number ("1" for "1.0" and "1e0"); a word as it stands."""
    if number(label) is None:
        return label
    value = Decimal(label).normalize()
    return "0" if not value else format(value, "f")


def are_numbers(names: Iterable[str]) -> bool:
    """Return whether all names are numbers, none of them a code such as "007"."""
    return all(number(name) is not None and not is_code(name) for name in names)


def are_booleans(names: Iterable[str]) -> bool:
    """Return whether all names are true or false in some spelling."""
    return all(name.casefold() in _BOOLEANS for name in names)


def list_items(label: str) -> list[str] | None:
    """Return the items of a list in brackets, or None if the label is not such a list.

    Empty ones are left out: null, NaN and what shows nothing.
    """
    items = all_list_items(label)
    return None if items is None else [item for item in items if item]


def all_list_items(label: str) -> list[str] | None:
    """Return the items of a list in brackets, "" for an empty one, or None if the label is not such a list.

    Read are JSON's lists, Python's lists, tuples and sets, numpy's arrays (items apart by blanks) and
    words with commas between them: ["a", "b"], ['a', 'b'], ['a' 'b'], [1 0], [a, b]. `ast` alone would read
    ['a' 'b'] as the one word "ab".
    """
    text = label.strip()
    if text.startswith("[np."):
        text = _SCALAR.sub(r"\1", text)
    if whole := _ARRAY.fullmatch(text):
        text = whole[1].strip() or "[]"
    if len(text) < 2 or _CLOSING.get(text[0]) != text[-1]:
        return None
    inner = text[1:-1].strip()
    if not inner:
        return []
    if text[0] == "[" and (items := _json_items(text)) is not None:
        return items
    if '"' in inner or "'" in inner:
        return _quoted_items(inner)
    return _bare_items(inner, round_brackets=text[0] != "[")


def is_sure_list(label: str) -> bool:
    """Return whether a list in brackets can be no name: "[spam]" can, "[]" and "['spam']" cannot."""
    items = list_items(label)
    return items is not None and (
        len(items) != 1 or '"' in label or "'" in label or number(items[0]) is not None)


def is_unread_list(label: str) -> bool:
    """Return whether a label that cannot be read looks like a list: [['a']], ['a', b], (a, b), 0 1 0."""
    forms = (_OPENS_LIST.match(label), _ROUND_LIST.fullmatch(label), _BARE_VECTOR.fullmatch(label))
    return any(forms) and list_items(label) is None


def looks_like_list(label: str) -> bool:
    """Return whether a label begins as a list in square brackets does."""
    return label.startswith("[")


def split_at(label: str, separator: str) -> list[str]:
    """Return the names between separators, without the blanks around them; empty ones are left out."""
    return [part for part in all_parts(label, separator) if part]


def all_parts(label: str, separator: str) -> list[str]:
    """Return the names between separators, without the blanks around them, "" for an empty one."""
    return ["" if is_blank(part) else part.strip() for part in label.split(separator)]


def is_on(item: str) -> bool | None:
    """Return whether an entry of a 0/1 vector is 1; None if it is neither."""
    value = number(_BOOLEANS.get(item.strip().casefold(), item.strip()))
    return bool(value) if value in (0, 1) else None


def _json_items(text: str) -> list[str] | None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if any(isinstance(entry, list | dict) for entry in parsed):
        return None
    return [_item(entry) for entry in parsed]


def _item(value: Any) -> str:
    if value is None or value != value or (isinstance(value, str) and is_blank(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _quoted_items(inner: str) -> list[str] | None:
    """Return quoted items with a comma after each, or with none at all."""
    items, commas, at = [], [], 0
    while at < len(inner):
        match = _TOKEN.match(inner, at)
        if match is None:
            return None
        token, comma = match.groups()
        at = match.end()
        commas.append(bool(comma))
        if token[0] in "\"'":
            try:
                token = str(ast.literal_eval(token))
            except (ValueError, SyntaxError):
                return None
            token = "" if is_blank(token) else token
        elif token in WRITTEN_MISSING:
            token = ""
        elif number(token) is None and token.casefold() not in _BOOLEANS:
            return None
        items.append(token)
    return items if len(set(commas[:-1])) < 2 else None


def _bare_items(inner: str, round_brackets: bool) -> list[str] | None:
    """Return items without quotes: words with commas between them, or numbers with blanks."""
    parts = [part.strip() for part in inner.removesuffix(",").split(",")] if "," in inner else inner.split()
    numbers = all(number(part) is not None or part.casefold() in _BOOLEANS for part in parts)
    if "" in parts or "..." in parts or (round_brackets and not (numbers and "," in inner)):
        return None
    if "," not in inner and len(parts) > 1 and not numbers:
        return None
    return ["" if part in WRITTEN_MISSING else part for part in parts]
