"""JSON that others may have written: read whole, or refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polytask.core.errors import PolytaskError, RunError
from polytask.core.paths import refuse_special

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
        raise error(f"{path}: cannot be read, it is not UTF-8 text") from None
    except (ValueError, RecursionError) as wrong:
        raise error(f"{path}: cannot be read, it is not JSON ({wrong})") from None
