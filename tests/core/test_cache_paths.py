"""One folder for the cache; each thing in it has its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.cache_paths import (
    TablePaths,
    baseline_scores,
    built_tokenizer,
    cache_folder,
    file_facts,
    unpacked_encoder,
)
from polytask.core.errors import RunError


def test_the_cache_is_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("POLYTASK_CACHE", "~/x")
    assert cache_folder() == tmp_path / "x" and cache_folder("~/y") == tmp_path / "y"
    monkeypatch.delenv("POLYTASK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "polytask"
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert cache_folder() == Path("/there/polytask")
    with pytest.raises(RunError, match=r"data\.cache: ~nobody-here/x names a home folder"):
        cache_folder("~nobody-here/x")


def test_kinds_of_entries_do_not_meet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    places = {tmp_path / file_facts("a"), tmp_path / baseline_scores("a"), built_tokenizer("a"),
              unpacked_encoder("a").tokenizer}
    assert len(places) == 4 and all(place.is_relative_to(tmp_path) for place in places)
    assert TablePaths(tmp_path).about.name == "table.json"
