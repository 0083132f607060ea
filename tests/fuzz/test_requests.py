"""Mutated requests: every outcome is an answer or a refusal with a sentence, and the server lives on."""

from __future__ import annotations

from collections import Counter

import pytest
from fuzz_requests import ANSWERED, CLOSED, REFUSED, SILENT, STRANGE, TRACEBACK, end_of, request_campaign


def test_every_mutated_request_is_answered_or_refused(pytestconfig: pytest.Config) -> None:
    figures = request_campaign(float(pytestconfig.getoption("--fuzz-seconds") or 60.0) / 4)
    assert not figures.bad, "\n\n".join(figures.bad)
    assert figures.statuses[200] >= 2 and figures.statuses[400] >= 10, figures
    assert figures.tries == sum(figures.ends.values())


@pytest.mark.parametrize(("received", "end"), [
    (b"HTTP/1.1 200 OK\r\n\r\n{}", ANSWERED), (b"", CLOSED), (None, SILENT),
    (b'HTTP/1.1 400 No\r\n\r\n{"error": "a", "error_type": "b"}', REFUSED),
    (b"HTTP/1.1 200 OK\r\n\r\n{}HTTP/1.1 400 No\r\n\r\n", REFUSED),
    (b"HTTP/1.1 400 No\r\n\r\nsorry", STRANGE), (b"HTTP/1.1 400 No\r\n\r\n7", STRANGE),
    (b"HTTP/1.1 500 Oh\r\n\r\n", STRANGE), (b"SSH-2.0", STRANGE), (b"HTTP/1.1 x", STRANGE),
    (b"HTTP/1.1 200 OK\r\n\r\nTraceback (most recent call last)", TRACEBACK)])
def test_the_ends_of_a_request_are_distinguished(received: bytes | None, end: str) -> None:
    assert end_of(received, Counter()) == end
