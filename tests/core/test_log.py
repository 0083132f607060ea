"""POLYTASK_LOG: levels, and what is not a level."""

from __future__ import annotations

import logging

import pytest

from polytask.core.errors import ConfigError
from polytask.core.log import configure, debugging

pytestmark = pytest.mark.usefixtures("log_as_before")
LOG = logging.getLogger("polytask")


def test_a_level_writes_from_it_on_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLYTASK_LOG", "INFO")
    configure()
    logging.getLogger("polytask.data").info("a file is read")
    logging.getLogger("polytask.data").debug("a byte is read")
    said = capsys.readouterr().err
    assert "INFO polytask.data: a file is read" in said and "byte" not in said
    assert not debugging()
    monkeypatch.setenv("POLYTASK_LOG", "debug")
    assert debugging()


def test_nothing_changes_without_the_variable_and_other_words_are_refused(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POLYTASK_LOG", raising=False)
    handlers = LOG.handlers[:]
    configure()
    assert LOG.handlers == handlers
    monkeypatch.setenv("POLYTASK_LOG", "debgu")
    with pytest.raises(ConfigError, match='POLYTASK_LOG: found "debgu", expected one of debug, info'):
        configure()
