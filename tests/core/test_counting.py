"""Words agree with the numbers beside them."""

from __future__ import annotations

import pytest

from polytask.core.counting import agreeing, counted


@pytest.mark.parametrize(("count", "said"), [
    (0, "0 rows have"), (1, "1 row has"), (2, "2 rows have"), (2000, "2,000 rows have"),
])
def test_one_is_singular_and_all_else_plural(count: int, said: str) -> None:
    assert f"{counted(count, 'row')} {agreeing(count, 'has', 'have')}" == said
