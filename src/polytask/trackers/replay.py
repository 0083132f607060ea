"""Turns `events.jsonl` into points while it grows, even when a resumed training rewrites its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polytask.core.events import EventFollower
from polytask.core.json_files import as_written
from polytask.trackers.contract import Point, Tracker, points_of

# Points in a call; seconds between two looks at a log that is still growing.
_BATCH, _LOOK_SECONDS = 500, 1.0


def replay(path: Path, tracker: Tracker, follow: bool, stopped: Callable[[], bool]) -> int:
    """Send the points of a log that the tracker lacks; return how many.

    follow: keep going until the training ends or `stopped` returns true. A resumed training repeats
    updates with the same numbers, so no step is sent twice.
    """
    reader, sent, count, ended = EventFollower(path), tracker.sent(), 0, False
    clock = _Clock()
    while True:
        batch: list[Point] = []
        for event in reader.events():
            ended = event.get("event") == "end"
            with as_written(path):
                point = points_of(event, clock.at(event))
            if point is None or point.step <= sent.get(point.kind, -1):
                continue
            sent[point.kind] = point.step
            batch.append(point)
            if len(batch) == _BATCH:
                tracker.send(batch)
                count, batch = count + len(batch), []
        if batch:
            tracker.send(batch)
            count += len(batch)
        if not follow or ended or stopped():
            return count
        time.sleep(_LOOK_SECONDS)


class _Clock:
    """Tells when an event happened: the start of the training plus the seconds of all updates since."""

    def __init__(self) -> None:
        self.now = 0.0

    def at(self, event: Mapping[str, Any]) -> float:
        if event.get("event") == "start":
            self.now = _seconds(event.get("time"))
        elif event.get("event") == "step":
            self.now += float(event.get("seconds") or 0.0)
        return self.now


def _seconds(text: Any) -> float:
    try:
        return time.mktime(time.strptime(str(text), "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
