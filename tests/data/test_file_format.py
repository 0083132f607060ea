"""What a task says of its files, in a model's folder and back."""

from __future__ import annotations

import json

from polytask.data.file_format import FileFormat


def test_only_stated_settings_are_kept_and_they_come_back() -> None:
    assert FileFormat().to_json() == {} and FileFormat.from_json({}) == FileFormat()
    told = FileFormat(False, ("a", ""), "latin-1", "none", ";")
    assert FileFormat.from_json(json.loads(json.dumps(told.to_json()))) == told
    assert list(told.problems()) == [] == list(FileFormat().problems())


def test_every_mistake_is_reported_at_once() -> None:
    wrong = FileFormat(True, ("a", "a"), "base64", "every", '"')
    assert [said.partition(":")[0] for said in wrong.problems()] == [
        "columns", "columns", "encoding", "quoting", "delimiter"]
