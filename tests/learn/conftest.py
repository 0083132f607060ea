"""Groups of processes, started once for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from several import Group


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    group = Group(2, tmp_path_factory.mktemp("two"))
    yield group
    group.close()
