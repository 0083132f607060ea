"""The exception tree, by the remedy that the reader has.

PolytaskError                 anything that the user can fix; the command line exits with 2
├── ConfigError               a setting: a typo, a wrong value, a combination that cannot work
│   └── UnknownName           a name that is not registered (the nearest one is suggested)
├── DataError                 a data file: missing, malformed, a label out of range
├── RunError                  a run folder: not one, of another config, cut short
│   └── CheckpointError       weights or state that cannot be read
├── UntrustedCode             a folder names code that the user did not (--trust allows it)
├── MissingExtra              an optional package is not installed (the message has the pip command)
├── MissingPackage            a package that polytask depends on is not installed, as beside a graph alone
├── StorageError              the disk refused: full, read-only, gone
└── TrainingStopped           training ended early
    ├── Interrupted           Ctrl-C or SIGTERM
    ├── Diverged              a loss, gradient or weight that is not finite
    └── PeerLost              another process of the training ended, or is silent
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class PolytaskError(Exception):
    """Anything that the user can fix. Its text is one sentence per mistake."""

    silent = False
    """Whether another process of the training tells the user."""


class ConfigError(PolytaskError):
    """A setting is wrong. ``problems`` holds one sentence for each mistake found."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class UnknownName(ConfigError):
    """A name that no registered component has."""


class DataError(PolytaskError):
    """A data file cannot be used as the config says."""


class RunError(PolytaskError):
    """A folder is not the run that it should be."""


class CheckpointError(RunError):
    """Weights or training state that cannot be read back."""


class UntrustedCode(PolytaskError):
    """A run or model folder names code that would have to be imported to read it."""


class MissingExtra(PolytaskError):
    """An optional dependency is absent."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f'{purpose} needs an extra: pip install "polytask[{extra}]"')


class MissingPackage(PolytaskError):
    """A dependency is absent: polytask was installed for its exported graphs alone."""

    def __init__(self, purpose: str, package: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; run pip install polytask, or "
                         'choose the engine of an exported graph, "onnx" or "int8"')


DEPENDENCIES = ("torch", "safetensors", "huggingface_hub", "pydantic", "pydantic_core", "tomli_w",
                "sklearn", "scipy", "filelock")
"""What everything but an exported graph needs, by the names that are imported."""


def missing_dependency(error: ModuleNotFoundError) -> str | None:
    """Return the dependency that an import did not find, or None for any other module."""
    package = (error.name or "").partition(".")[0]
    return package if package in DEPENDENCIES else None


class StorageError(PolytaskError):
    """A file could not be written to disk."""


class TrainingStopped(PolytaskError):
    """Training ended early; the message says what is saved."""


class Interrupted(TrainingStopped):
    """Ctrl-C or SIGTERM arrived; the state was saved first."""


class Diverged(TrainingStopped):
    """A loss, penalty, gradient or weight was not finite; the message says what of the run is saved."""


class PeerLost(TrainingStopped):
    """Another process of the training ended or does not answer; the message says what is saved."""


# Other words for the same thing, former ones and other libraries'; tried before similar spellings.
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "objective": ("loss",), "objectives": ("loss", "metrics"), "criterion": ("loss",),
    "packed": ("cross_encoder",), "separate": ("bi_encoder",), "siamese": ("bi_encoder",),
    "course": ("lr_schedule",), "lr_scheduler": ("lr_schedule",), "scheduler": ("schedule",),
    "feed": ("sampler",), "average": ("ema",), "num_train_epochs": ("epochs",),
    "learning_rate": ("lr",), "matthews": ("mcc",), "matthews_corrcoef": ("mcc",),
    "init": ("checkpoint",), "backbone": ("encoder",),
    "model": ("encoder", "checkpoint"), "validation": ("dev",),
    "eval": ("dev",), "seq_length": ("max_length",), "max_seq_length": ("max_length",),
}


def nearest(name: str, known: Iterable[str], words: Mapping[str, str] | None = None) -> str:
    """Return '; did you mean "x"?' for the known name that `name` most likely stands for, or ''.

    words: other words → the known name that each stands for.
    """
    names = {word.casefold(): str(meant) for word, meant in (words or {}).items()}
    names |= {str(name).casefold(): str(name) for name in known}
    wanted = str(name).casefold()
    match = [synonym for synonym in _SYNONYMS.get(wanted, ()) if synonym in names]
    match = match or get_close_matches(wanted, names, n=1, cutoff=0.5)
    return f"; did you mean {shown_name(names[match[0]])}?" if match else ""


def same_meaning(name: str, known: Iterable[str], unless: Iterable[str] = ()) -> str | None:
    """Return the known name that `name` is or stands for; None where it stands for one of `unless`."""
    meanings = (name, *_SYNONYMS.get(name, ()))
    if {*meanings} & {*unless}:
        return None
    return next((meaning for meaning in meanings if meaning in {*known}), None)


def with_article(noun: str) -> str:
    """Return 'a loss', 'an adapter'."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def listed(names: Iterable[object]) -> str:
    """Return names as '"a", "b", "c"' for a message."""
    return ", ".join(map(shown_name, names))


# They join letters of Persian and Hindi, and the parts of an emoji.
_JOINERS = "\u200c\u200d"


def shown_name(name: object) -> str:
    """Return a name in quotes, in which nothing is invisible but plain blanks: "text\\u200b", 'a "b"'."""
    joining = "" if str(name).strip(_JOINERS).isascii() else _JOINERS
    text = "".join(character if character.isprintable() or character in joining
                   else json.dumps(character)[1:-1] for character in str(name))
    return f"'{text}'" if '"' in text and "'" not in text else f'"{text}"'
