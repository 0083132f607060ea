"""Parquet as records: every type a cell, missing values none."""

from __future__ import annotations

import importlib
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.arrow_records import parquet_columns, parquet_records
from polytask.data.tables import Nested


def test_cells_of_every_type(tmp_path: Path) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    table = arrow.table({
        "text": ["a", None], "number": [0.0, float("nan")], "whole": [0, None], "flag": [False, True],
        "several": [["x", "y"], None], "bytes": [b"caf\xc3\xa9", b""],
        "word": arrow.array(["no", "yes"]).dictionary_encode()})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert parquet_columns(tmp_path / "t.parquet") == tuple(table.column_names)
    first, second = (cells for _, cells in parquet_records(tmp_path / "t.parquet"))
    assert first == ["a", "0.0", "0", "false", '["x", "y"]', "café", "no"]
    assert second == ["", "", "", "true", "", "", "yes"]
    assert isinstance(first[4], Nested)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": [b"fine", b"caf\xe9"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: a text after row 2 is not UTF-8"):
        list(parquet_records(tmp_path / "t.parquet"))


def test_decimals_and_times_are_as_documented(tmp_path: Path) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    table = arrow.table({
        "price": [Decimal("0.50"), Decimal("-12.25")], "day": [date(2020, 1, 2), None],
        "moment": [datetime(2020, 1, 2, 3, 4), None], "span": [timedelta(seconds=90), None]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert [cells for _, cells in parquet_records(tmp_path / "t.parquet")] == [
        ["0.50", "2020-01-02", "2020-01-02 03:04:00", "0:01:30"], ["-12.25", "", "", ""]]
