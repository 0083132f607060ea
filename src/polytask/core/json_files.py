"""JSON that others may have written: read whole, or refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from polytask.core.errors import PolytaskError, RunError
from polytask.core.safe_paths import refuse_special

T = TypeVar("T")

# No JSON of a run or model comes near it; a tokenizer, the largest that others write, has some 20 MB.
MOST_BYTES = 256 << 20


def read_json(path: Path, error: type[PolytaskError] = RunError, most: int = MOST_BYTES) -> Any:
    """Return what a JSON file says; raise `error` for one that is missing, too large or not JSON."""
    refuse_special(path, error)
    try:
        if (size := path.stat().st_size) > most:
            raise error(f"{path}: has {size:,} bytes, expected at most {most:,}")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: is missing") from None
    except OSError as refused:
        raise error(f"{path}: cannot be read ({refused.strerror})") from None
    except UnicodeDecodeError:
        raise error(f"{path}: cannot be read because it is not UTF-8 text") from None
    except (ValueError, RecursionError) as wrong:
        raise error(f"{path}: cannot be read because it is not JSON ({wrong})") from None


# What using a value of an unexpected shape raises.
MISSHAPEN = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


@contextmanager
def as_written(path: str | Path, error: type[PolytaskError] = RunError, remedy: str = "",
               also: tuple[type[Exception], ...] = (), what: str = "is not as polytask wrote it"
               ) -> Iterator[None]:
    """Raise `error` where a file turns out to be of another shape than polytask writes.

    For the places where what was read is used first. also: what else is raised there for that reason. what:
    the message about the file. The cause is chained, in case it is a bug of polytask.
    """
    try:
        yield
    except PolytaskError:
        raise
    except Exception as wrong:
        if not isinstance(wrong, (*MISSHAPEN, *also)):
            raise
        reason = " ".join(f"{type(wrong).__name__}: {wrong}".split())
        raise error(f"{path}: {what} ({reason[:200]}){remedy}") from wrong


def typed(kind: type[T], table: Any) -> T:
    """Return a dataclass from the values of a file; raise `ValueError` for the first of another type."""
    from pydantic import TypeAdapter, ValidationError  # a fifth of a second, which most commands save

    try:
        return TypeAdapter(kind).validate_python(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
