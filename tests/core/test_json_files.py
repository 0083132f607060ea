"""JSON is read whole, or refused in a sentence that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import CheckpointError
from polytask.core.json_files import read_json


@pytest.mark.parametrize(("content", "said"), [
    (b"{", "it is not JSON"), (b"[" * 100_000, "it is not JSON"), (b"\xff{}", "it is not UTF-8"),
    (b"1" * 6000, "it is not JSON"), (b" " * 20_000, "has 20,000 bytes, expected at most 10,000"),
])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "tasks.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"tasks\.json: .*{said}"):
        read_json(path, CheckpointError, most=10_000 if said.startswith("has") else 1 << 20)


def test_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"é": [1, 2.5, null]}', encoding="utf-8")
    assert read_json(path) == {"é": [1, 2.5, None]}
    with pytest.raises(CheckpointError, match="is missing"):
        read_json(tmp_path / "none", CheckpointError)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_json(tmp_path, CheckpointError)
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="is a device"):
        read_json(tmp_path / "endless", CheckpointError)
