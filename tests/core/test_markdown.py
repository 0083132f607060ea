"""Markdown: a cell stays in its cell, whatever is in it."""

from __future__ import annotations

from polytask.core.markdown import markdown_table, plain


def test_a_cell_cannot_leave_its_table() -> None:
    assert markdown_table(["a", "b|c"], [["x\n| y |", 2]]) == [
        r"| a | b\|c |", "| --- | --- |", r"| x \| y \| | 2 |"]


def test_a_tag_is_text() -> None:
    assert plain("<script>alert(1)</script>\nnext") == r"\<script>alert(1)\</script> next"
