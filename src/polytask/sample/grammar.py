"""Sentences from rules: even choice, tagged alternatives, articles, capitals."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key")

CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")
SETTING = re.compile(r"(\w+)=([^:]+): ")
ARTICLE = re.compile(r"\b([Aa])~ (\w+)")
SOUNDS_LIKE_CONSONANT = ("one", "uni", "eu", "use", "usu", "ufo")
SILENT_H = ("hour", "honest", "heir", "honour")


def rules(text: str) -> dict[str, tuple[str, ...]]:
    """Read `name: one | another` from a block of text; indented lines continue a rule."""
    rules = [line.partition(":") for lines in blocks(text) for line in lines]
    return {name: tuple(filter(None, parts(rest))) for name, _, rest in rules}


def blocks(text: str) -> list[list[str]]:
    """Paragraphs as lists of lines, with indented lines joined to the one above by ` | `."""
    joined = text.strip().replace("\n  ", " | ")
    return [paragraph.splitlines() for paragraph in joined.split("\n\n")]


def parts(line: str, by: str = "|") -> list[str]:
    """The pieces of a line, without the blanks around them."""
    return [part.strip() for part in line.split(by)]


def quotas(shares: Mapping[Key, float], size: int) -> dict[Key, int]:
    """`size` divided in these shares; the last one absorbs the rounding."""
    counts = {key: round(share * size) for key, share in shares.items()}
    last = list(counts)[-1]
    return counts | {last: size - sum(counts.values()) + counts[last]}


def article(word: str) -> str:
    """The indefinite article that stands before `word`."""
    lower = word.lower()
    if lower.startswith(SILENT_H):
        return "an"
    return "an" if lower[0] in "aeiou" and not lower.startswith(SOUNDS_LIKE_CONSONANT) else "a"


def choose(text: str, rng: random.Random) -> str:
    """Settle every `[this/that]` of `text`."""
    while CHOICE.search(text):
        text = CHOICE.sub(lambda m: rng.choice(m[1].split("/")), text)
    return text


def polish(text: str) -> str:
    """Settle every `a~`, join spaces, begin each sentence with a capital."""
    text = re.sub(r" ([.,?!])", r"\1", " ".join(text.split()))
    text = ARTICLE.sub(lambda m: m[1] + article(m[2])[1:] + " " + m[2], text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda m: m[1] + m[2].upper(), text)


class Deck:
    """Deals alternatives in random order; none repeats before all were dealt."""

    def __init__(self, alternatives: Iterable[str], rng: random.Random) -> None:
        self.alternatives = list(alternatives)
        self.rng = rng
        self.left: list[str] = []

    def deal(self, taken: set[str]) -> str:
        """The next alternative whose tag (`tag> text`) is not among `taken`; adds its tag."""
        for _ in range(2):
            for at, choice in enumerate(self.left):
                tag, _, text = choice.rpartition("> ")
                if tag not in taken:
                    del self.left[at]
                    if tag:
                        taken.add(tag)
                    return text
            self.left += self.rng.sample(self.alternatives, len(self.alternatives))
        raise ValueError(f"no unused alternative is left: {self.alternatives}")


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


class Grammar:
    """Expands `{rule}` from decks and `[this/that]` at random; one tag at most once a text.

    A rule named in `fixed` has one value in the whole text, and `{rules}` is its plural; an
    alternative that begins `rule=value: ` settles it.
    """

    def __init__(
        self, rules: Mapping[str, Sequence[str]], fixed: Sequence[str], rng: random.Random
    ) -> None:
        self.decks = {name: Deck(alternatives, rng) for name, alternatives in rules.items()}
        self.fixed = fixed
        self.rng = rng

    def write(self, rule: str) -> str:
        """A finished text from `rule`; slots are expanded left to right, recursively."""
        text, taken, settled = "{" + rule + "}", set[str](), dict[str, str]()
        while slot := SLOT.search(text):
            inner = choose(self.value(slot[1], taken, settled), self.rng)
            text = text[: slot.start()] + inner + text[slot.end() :]
        return polish(text)

    def value(self, name: str, taken: set[str], settled: dict[str, str]) -> str:
        """The expansion of `{name}` in a text that has used the tags `taken`."""
        if name.endswith("s") and name[:-1] in self.fixed:
            return plural(self.value(name[:-1], taken, settled))
        if name in settled:
            return settled[name]
        inner = self.decks[name].deal(taken)
        if setting := SETTING.match(inner):
            settled[setting[1]] = setting[2]
            inner = inner[setting.end() :]
        if name in self.fixed:
            settled[name] = inner
        return inner
