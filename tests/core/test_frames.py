"""Tables for notebooks: every cell is text, columns of numbers are numbers."""

from __future__ import annotations

import sys

import pytest

from polytask.core.errors import MissingExtra
from polytask.core.frames import data_frame, html_lines, html_table


def test_html_is_text_whatever_the_cells_hold() -> None:
    page = html_table(["<b>", "score"], [["<script>", "1 & 2"]], "a < b")
    assert page == ("<table><caption>a &lt; b</caption><thead><tr><th>&lt;b&gt;</th><th>score</th></tr>"
                    "</thead><tbody><tr><td>&lt;script&gt;</td><td>1 &amp; 2</td></tr></tbody></table>")
    assert html_lines(["a", "<b>"]) == "<p>a</p><p>&lt;b&gt;</p>"


def test_columns_of_numbers_are_numbers() -> None:
    rows = [{"row": "a", "mean": "0.5", "p": ""}, {"row": "1b", "mean": "2", "p": "0.1"}]
    frame = data_frame(rows, numbers=True)
    assert frame["mean"].sum() == 2.5 and frame["p"].isna().sum() == 1
    assert frame["row"].tolist() == ["a", "1b"]


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match="pandas"):
        data_frame([])
