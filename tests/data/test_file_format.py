"""What a task says of its files, in a model's folder and back."""

from __future__ import annotations

import json

from polytask.data.file_format import FileFormat


def test_only_what_is_said_is_kept_and_it_comes_back() -> None:
    assert FileFormat().to_json() == {} and FileFormat.from_json({}) == FileFormat()
    told = FileFormat(False, ("a", ""), "latin-1", "none", ";")
    assert FileFormat.from_json(json.loads(json.dumps(told.to_json()))) == told
    assert list(told.problems()) == [] == list(FileFormat().problems())


def test_every_mistake_is_told_at_once() -> None:
    wrong = FileFormat(True, ("a", "a"), "base64", "every", '"')
    assert [said.partition(":")[0] for said in wrong.problems()] == [
        "columns", "columns", "encoding", "quoting", "delimiter"]
