"""Numbers and the words beside them: "1 row has", "2,000 rows have"."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def agreeing(count: int, one: str, several: str) -> str:
    """Return the verb or pronoun that goes with a number: "has" or "have"."""
    return one if count == 1 else several
