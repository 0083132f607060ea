"""What a server tells of a task is what its layout does."""

from __future__ import annotations

from typing import Any, cast

import pytest

from polytask.data.collate import InputLayout
from polytask.data.labels import Labels
from polytask.serve.text_engine import TextEngine


@pytest.mark.parametrize(("texts", "sequences", "symmetric", "pairing"), [
    (1, 1, False, "single"), (1, 2, False, "twin"), (2, 1, False, "cross_encoder"),
    (2, 2, True, "cross_encoder"), (2, 2, False, "bi_encoder"), (2, 3, False, "cross_bi_encoder"),
    (2, 4, True, "cross_bi_encoder")])
def test_clients_are_told_the_pairing_and_whether_both_orders_are_read(
        texts: int, sequences: int, symmetric: bool, pairing: str) -> None:
    layout = InputLayout(texts, sequences, 8, symmetric=symmetric)
    engine = TextEngine("run", cast(Any, None), layout, "vectors")
    engine._add_task("same", texts, Labels("binary", ("0", "1")), layout, "pairs", {})
    said = engine.tasks["same"].to_json()
    assert (said["pairing"], said["symmetric"], said["texts"]) == (pairing, symmetric, texts)
