"""Text made safe for a terminal: no escape sequences, no marks that reorder a line."""

from __future__ import annotations

import io
import re
import sys
from typing import TextIO

# Control characters but for line ends and tabs, the marks that embed, override and isolate directions, and
# blanks of no width, which make two names look alike. Joiners stay: alphabets and emoji need them.
_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def terminal_text(text: object) -> str:
    r"""Return a text for a terminal: names that users' files hold cannot move its cursor or turn its lines.

    Each such character is written as Python writes it: "\x1b".
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def tell(line: str) -> None:
    """Write a line to standard error; the names in it are text to a terminal."""
    sys.stderr.write(f"{terminal_text(line)}\n")


class TerminalOutput(io.TextIOBase):
    """Writes to a terminal whatever is written to it, as `terminal_text`."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal

    def write(self, text: str) -> int:
        self.terminal.write(terminal_text(text))
        return len(text)

    def flush(self) -> None:
        self.terminal.flush()
