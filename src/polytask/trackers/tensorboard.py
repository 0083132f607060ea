"""TensorBoard: one event file per call, in a folder that `tensorboard --logdir` shows."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra, PolytaskError
from polytask.trackers.contract import KINDS, Point, Tracker

_MARK, _RUN = "polytask/", "polytask/run"


class TensorBoard(Tracker):
    """Event files in a folder, which tell what was sent; a record that a kill cut short is sent again."""

    def __init__(self, folder: Path, settings: dict[str, Any], run: Path) -> None:
        try:
            self._event_class = importlib.import_module("tensorboard.compat.proto.event_pb2").Event
            self._summary_class = importlib.import_module("tensorboard.compat.proto.summary_pb2").Summary
            writer = importlib.import_module("tensorboard.summary.writer.event_file_writer")
            self._loader = importlib.import_module(
                "tensorboard.backend.event_processing.event_file_loader").RawEventFileLoader
        except ImportError:
            raise MissingExtra("--to tensorboard", "tensorboard") from None
        self.folder, self._run = folder, str(run.absolute())
        self._sent = self._read()
        self._writer = writer.EventFileWriter(str(folder), max_queue_size=1000, flush_secs=3600)
        if not self._sent:
            texts = [("config", json.dumps(settings)), (_RUN, self._run)]
            self._writer.add_event(self._event(0, 0.0, texts, text=True))

    def _read(self) -> dict[str, int]:
        sent: dict[str, int] = {}
        for file in sorted(self.folder.glob("events.out.tfevents.*")):
            for record in self._loader(str(file)).Load():
                event = self._event_class.FromString(record)
                tags = {value.tag for value in event.summary.value}
                if _RUN in tags:
                    self._refuse_another(event)
                for kind in KINDS:
                    if _MARK + kind in tags:
                        sent[kind] = max(sent.get(kind, 0), event.step)
        return sent

    def _refuse_another(self, event: Any) -> None:
        (run,) = (value.tensor.string_val[0].decode() for value in event.summary.value if value.tag == _RUN)
        # A run that was moved takes its folder with it.
        if run != self._run and not self.folder.absolute().is_relative_to(self._run):
            raise PolytaskError(f"--out: {self.folder} has the points of {run}; give every run a folder of "
                                f"its own, such as {self.folder / Path(self._run).name}")

    def sent(self) -> dict[str, int]:
        return dict(self._sent)

    def send(self, points: Sequence[Point]) -> None:
        for point in points:
            # A point and its mark share a record, so a kill loses both or neither.
            values = [*point.values.items(), (_MARK + point.kind, float(point.step))]
            self._writer.add_event(self._event(point.step, point.time, values))
            self._sent[point.kind] = point.step
        self._writer.flush()

    @property
    def place(self) -> str:
        return str(self.folder)

    def _event(self, step: int, time: float, values: Sequence[tuple[str, Any]], text: bool = False) -> Any:
        summary = self._summary_class()
        for tag, value in values:
            entry = summary.value.add(tag=tag)
            if text:
                entry.metadata.plugin_data.plugin_name = "text"
                entry.tensor.dtype = 7  # DT_STRING
                entry.tensor.string_val.append(value.encode())
                entry.tensor.tensor_shape.dim.add(size=1)
            else:
                entry.simple_value = value
        return self._event_class(step=step, wall_time=time, summary=summary)

    def close(self) -> None:
        self._writer.close()
