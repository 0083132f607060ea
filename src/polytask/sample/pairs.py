"""Draws question pairs and sentence pairs from vocabularies; a row is (text, text, label)."""

import dataclasses
import random
import re
from collections.abc import Iterator, Mapping, Sequence

from polytask.sample import questions, sentences
from polytask.sample.grammar import SLOT, blocks, parts, polish, quotas

Row = tuple[str, str, str]
SlotValues = dict[str, str]

QUESTION_KINDS = {  # share of the rows
    "duplicate": 0.29,
    "unsure": 0.16,
    "intent": 0.30,
    "filling": 0.17,
    "swapped": 0.02,
    "family": 0.06,
}
PREFACED = 0.08  # share of the questions that begin with a remark
SENTENCE_KINDS = {  # share of the rows
    "reworded": 0.22,
    "shortened": 0.11,
    "detail": 0.16,
    "details": 0.10,
    "actor": 0.14,
    "event": 0.13,
    "topic": 0.05,
    "other": 0.09,
}
SIMILARITY = {  # before the small steps of `SentencePairs.score`
    "reworded": 4.6,
    "shortened": 4.0,
    "detail": 3.4,
    "details": 2.8,
    "actor": 2.2,
    "event": 1.2,
    "topic": 0.6,
    "other": 0.2,
}
SCENE_SHARE = 0.55
KEPT = 0.8  # share of the scenes that name a place, and of those that name a colour
MAIN = ("agent", "p", "f", "e")
DROPPABLE = ("place", "c", "h")
ALIKE_BONUS = 1.0  # an old man and a man are nearer than a girl and a man
SAME_WORDING = 0.5  # share of the pairs, not reworded ones, that are worded alike
THIRD_PERSON = re.compile(r"\{agent\} [^{]")
NAMES = {**sentences.AGENTS["people"], **sentences.AGENTS["animals"]}


@dataclasses.dataclass(frozen=True)
class QuestionFamily:
    """Questions about one topic, with the fillings that one split may use."""

    fillings: tuple[Mapping[str, str], ...]
    intents: tuple[tuple[str, ...], ...]
    directed: tuple[tuple[str, ...], ...]
    unsure: tuple[tuple[str, ...], ...]


def families(rng: random.Random) -> dict[str, list[QuestionFamily]]:
    """Every family three times: each split gets its own fillings."""
    families: dict[str, list[QuestionFamily]] = {"train": [], "dev": [], "test": []}
    for head, *lines in blocks(questions.FAMILIES):
        fillings = [dict(zip("xy", parts(filling, "/"), strict=False)) for filling in parts(head)]
        rng.shuffle(fillings)
        by_mark = {
            mark: tuple(tuple(parts(line[1:])) for line in lines if line[0] in mark)
            for mark in ("=>", ">", "~")
        }
        few = len(fillings) // 4 + len(fillings) % 4 // 2
        spans = {"train": fillings[2 * few :], "dev": fillings[:few], "test": fillings[few:][:few]}
        for split, span in spans.items():
            families[split].append(QuestionFamily(tuple(span), *by_mark.values()))
    return families


def question_rows(families: Sequence[QuestionFamily], count: int, rng: random.Random) -> Iterator[Row]:
    """Pairs of questions, `1` if they ask the same; no pair repeats."""
    seen: set[frozenset[str]] = set()
    for kind, wanted in quotas(QUESTION_KINDS, count).items():
        count_of_kind = 0
        while count_of_kind < wanted:
            pair = question_pair(kind, families, rng)
            if len(set(pair)) == 1 or frozenset(pair) in seen:
                continue
            seen.add(frozenset(pair))
            count_of_kind += 1
            same = kind == "duplicate" or (kind == "unsure" and count_of_kind % 2 == 0)
            first, second = (preface(question, rng) for question in rng.sample(pair, 2))
            yield first, second, str(int(same))


def question_pair(kind: str, families: Sequence[QuestionFamily], rng: random.Random) -> tuple[str, str]:
    """Two questions in the relation `kind`."""
    family = rng.choice([candidate for candidate in families if candidate.directed or kind != "swapped"])
    filling, other = rng.sample(family.fillings, 2)
    intent, another = rng.sample(family.intents, 2)
    first, second = rng.sample(intent, 2)
    match kind:
        case "unsure":
            first, second = rng.choice(family.unsure)
        case "intent":
            second = rng.choice(another)
        case "filling":
            return fill(first, filling), fill(rng.choice([first, first, second]), other)
        case "swapped":
            first, second = rng.sample(rng.choice(family.directed), 2)
            return fill(first, filling), fill(second, {"x": filling["y"], "y": filling["x"]})
        case "family":
            stranger = rng.choice([candidate for candidate in families if candidate is not family])
            second = rng.choice(rng.choice(stranger.intents))
            return fill(first, filling), fill(second, rng.choice(stranger.fillings))
    return fill(first, filling), fill(second, filling)


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """The finished text of a pattern."""
    return polish(SLOT.sub(lambda slot: values[slot[1]], pattern))


def preface(question: str, rng: random.Random) -> str:
    """The question, sometimes with a remark before it."""
    return f"{rng.choice(questions.PREFACES)} {question}" if rng.random() < PREFACED else question


@dataclasses.dataclass(frozen=True)
class EventTemplate:
    """Something that happens: its wordings as (number of the verb, pattern), and its slots."""

    topic: str
    wordings: tuple[tuple[int, str], ...]
    slots: Mapping[str, Sequence[str]]

    def draw(self, rng: random.Random) -> dict[str, str]:
        """A filling of the slots; some scenes lack their place or their colour."""
        values = {name: rng.choice(choices) for name, choices in self.slots.items()}
        if "agent" in values and rng.random() > KEPT:
            values[rng.choice([name for name in DROPPABLE if name in values])] = ""
        return values

    def say(self, pattern: str, values: Mapping[str, str], rng: random.Random) -> str:
        """The sentence, with any of the agent's names."""
        words = dict(values)
        if "agent" in words:
            words["be"] = "are" if words["agent"] in sentences.PLURAL else "is"
            words["agent"] = rng.choice(NAMES[words["agent"]])
        return fill(pattern, words)

    def key(self, values: SlotValues) -> str:
        """The key of a filling of this event, unique among all events."""
        return f"{self.wordings[0][1]} {sorted(values.items())}"

    def fitting(self, values: Mapping[str, str]) -> list[tuple[int, str]]:
        """The wordings that agree with the number of the agent."""
        if values.get("agent") not in sentences.PLURAL:
            return list(self.wordings)
        return [wording for wording in self.wordings if not THIRD_PERSON.match(wording[1])]


def scenes() -> list[EventTemplate]:
    """The events of `SCENES`: an agent, an action, a place."""
    events = []
    for topic, (who, where, *actions) in enumerate(blocks(sentences.SCENES)):
        for action in actions:
            wordings: list[tuple[int, str]] = []
            for verb, wording in enumerate(parts(action[1:])):
                patterns = scene_patterns(wording, first=verb == 0)
                wordings += [(verb, pattern) for pattern in patterns]
            cast = tuple(sentences.AGENTS[who])
            slots = {"agent": cast, "place": parts(where), **fillings(action)}
            events.append(EventTemplate(f"scene {topic}", tuple(wordings), slots))
    return events


def scene_patterns(wording: str, *, first: bool) -> list[str]:
    """The sentences that one wording of an action can make; "there is …" only of its first."""
    if wording.startswith("<"):
        return [wording[1:] + " {agent} {place}."]
    third, participle = parts(wording, "/")
    rest = participle.partition(" ")[2]
    patterns = [
        f"{{agent}} {third} {rest} {{place}}.",
        f"{{agent}} {{be}} {participle} {{place}}.",
        f"there {{be}} {{agent}} {participle} {{place}}.",
    ]
    return patterns[:3] if first else patterns[:2]


def reports() -> list[EventTemplate]:
    """The events of `REPORTS`."""
    return [
        EventTemplate(f"report {topic}", tuple(enumerate(parts(line[1:]))), fillings(line))
        for topic, lines in enumerate(blocks(sentences.REPORTS))
        for line in lines
    ]


def fillings(line: str) -> dict[str, Sequence[str]]:
    """The possible fillings of the slots of a line."""
    names = sorted(set(SLOT.findall(line)))
    return {name: parts(sentences.FILLINGS[name]) for name in names}


class SentencePairs:
    """Pairs of sentences with their similarity; no filling occurs in two splits."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.events = {"scene": scenes(), "report": reports()}
        self.owner: dict[str, str] = {}

    def rows(self, split: str, count: int) -> Iterator[Row]:
        """Rows of a split, in the shares of `SENTENCE_KINDS`; no pair repeats."""
        seen: set[frozenset[str]] = set()
        for kind, wanted in quotas(SENTENCE_KINDS, count).items():
            count_of_kind = 0
            while count_of_kind < wanted:
                row, keys = self.pair(kind)
                owned = any(self.owner.get(key, split) != split for key in keys)
                if owned or row[0] == row[1] or frozenset(row[:2]) in seen:
                    continue
                self.owner.update(dict.fromkeys(keys, split))
                seen.add(frozenset(row[:2]))
                count_of_kind += 1
                yield row

    def pair(self, kind: str) -> tuple[Row, list[str]]:
        """A pair in the relation `kind`, and the keys of its texts and fillings."""
        while True:
            source = "scene" if self.rng.random() < SCENE_SHARE else "report"
            event = self.rng.choice(self.events[source])
            values = event.draw(self.rng)
            other, changed = self.vary(kind, event, values)
            if kind == "reworded" or (other, changed) != (event, values):
                break
        verb, pattern = self.rng.choice(event.fitting(values))
        wordings = other.fitting(changed)
        if kind == "reworded":
            wordings = [wording for wording in wordings if wording[1] != pattern]
        elif self.rng.random() < SAME_WORDING:
            wordings = [wording for wording in wordings if wording[1] == pattern] or wordings
        verb_after, pattern_after = self.rng.choice(wordings)
        first = event.say(pattern, values, self.rng)
        second = other.say(pattern_after, changed, self.rng)
        score = self.score(kind, values, changed, same_verb=verb == verb_after)
        keys = [first.lower(), second.lower(), event.key(values), other.key(changed)]
        return (first, second, f"{score:.1f}"), keys

    def score(self, kind: str, values: SlotValues, changed: SlotValues, *, same_verb: bool) -> float:
        """The similarity of a pair."""
        if kind == "reworded" and same_verb:
            return 5.0
        agents = {values.get("agent", ""), changed.get("agent", "")}
        alike = kind == "actor" and any(agents <= group for group in sentences.ALIKE)
        step = self.rng.choice([-0.2, 0.0, 0.0, 0.2])
        return SIMILARITY[kind] + step + (ALIKE_BONUS if alike else 0.0)

    def vary(self, kind: str, event: EventTemplate, values: SlotValues) -> tuple[EventTemplate, SlotValues]:
        """The second sentence; unchanged if the event cannot be varied that way."""
        filled = [name for name in values if values[name]]
        match kind:
            case "shortened":
                return event, self.drop(values, [name for name in filled if name in DROPPABLE])
            case "detail":
                return event, self.change(event, values, [n for n in filled if n not in MAIN], 1)
            case "details":
                return event, self.change(event, values, [n for n in filled if n not in MAIN], 2)
            case "actor":
                return event, self.change(event, values, [n for n in filled if n in MAIN], 1)
            case "event" | "topic":
                other = self.another(event, same_topic=True)
                kept = values if kind == "event" else event.draw(self.rng)
                drawn = other.draw(self.rng)
                return other, drawn | {name: kept[name] for name in drawn if name in kept}
            case "other":
                other = self.another(event, same_topic=False)
                return other, other.draw(self.rng)
        return event, values

    def another(self, event: EventTemplate, *, same_topic: bool) -> EventTemplate:
        """A different event of the same kind, in the same topic or another."""
        events = self.events["scene" if "agent" in event.slots else "report"]
        others = [event_ for event_ in events if event_ is not event]
        return self.rng.choice([o for o in others if (o.topic == event.topic) == same_topic])

    def change(self, event: EventTemplate, values: SlotValues, names: list[str], count: int) -> SlotValues:
        """The values with another filling for `count` of the slots."""
        if len(names) < count:
            return values
        changed = dict(values)
        for name in self.rng.sample(names, count):
            changed[name] = self.rng.choice([c for c in event.slots[name] if c != values[name]])
        return changed

    def drop(self, values: SlotValues, names: list[str]) -> SlotValues:
        """The values without one of the slots."""
        return {**values, self.rng.choice(names): ""} if names else values
