"""JSON responses that can hold any text."""

from __future__ import annotations

import json
import math
from typing import Any

from fastapi.responses import JSONResponse


class AsciiJson(JSONResponse):
    """JSON in ASCII: a lone surrogate that a client sent comes back escaped, as UTF-8 has none."""

    def render(self, content: Any) -> bytes:
        """Return the body; NaN and infinities are errors, as JSON has none."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def finite(value: Any) -> Any:
    """Return a value with NaN and infinities replaced by null, as JSON has none."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
