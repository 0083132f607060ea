"""JSON responses that can hold any text."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse


class AsciiJson(JSONResponse):
    """JSON in ASCII: a lone surrogate that a client sent comes back escaped, as UTF-8 has none."""

    def render(self, content: Any) -> bytes:
        """Return the body; NaN and infinities are errors, as JSON has none."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
