"""Columns are taken for what they hold: texts of every script, labels, ids, a header or none."""

from __future__ import annotations

import pytest

from polytask.core.errors import DataError
from polytask.data.schema_guess import guess, headerless_columns, lacks_header
from polytask.data.tables import Table, TableWriter, read_table
from small_data import write  # noqa: F401  (the path of the tests of the data)


@pytest.fixture
def made(tmp_path):  # type: ignore[no-untyped-def]
    """Return a function that makes a table of columns and rows."""
    def table(columns: list[str], rows: list[list[str]]) -> Table:
        writer = TableWriter(columns)
        for line, row in enumerate(rows, 2):
            writer.add(line, row)
        folder = tmp_path / "table"
        folder.mkdir(exist_ok=True)
        writer.write(folder)
        return read_table(folder, "f.csv", "key")
    return table


def test_a_chinese_column_is_a_text(made) -> None:  # type: ignore[no-untyped-def]
    rows = [[f"这部电影真的很好看第{n}次", str(n % 2)] for n in range(30)]
    found = guess(made(["review", "label"], rows))
    assert found.text == ("review",) and found.label.name == "label"


def test_a_partner_by_name_is_a_text_whatever_its_cells(made) -> None:  # type: ignore[no-untyped-def]
    rows = [[f"what is the capital of land {n}", f"town{n}", str(n % 2)] for n in range(30)]
    assert guess(made(["sentence1", "sentence2", "label"], rows)).text == ("sentence1", "sentence2")
    assert guess(made(["question", "answer", "label"], rows)).text == ("question", "answer")


@pytest.mark.parametrize(("first", "second", "pair"), [
    ("new question", "known question", True), ("user_message", "bot_message", True),
    ("review title", "review body", False), ("comment", "known question", False),
])
def test_two_texts_with_names_alike_are_a_pair(made, first: str, second: str, pair: bool) -> None:  # type: ignore[no-untyped-def]
    rows = [[f"a question of number {n}", f"what is known of {n}", "ja" if n % 2 else "nein"]
            for n in range(40)]
    assert guess(made([first, second, "answered already?"], rows)).text == (
        (first, second) if pair else (first,))


def test_three_columns_of_0_and_1_are_one_label(made) -> None:  # type: ignore[no-untyped-def]
    rows = [["this is the text "
             f"{n}", str(n % 2), str(n % 3 // 2), str(n % 5 // 4), str(n % 4)] for n in range(40)]
    found = guess(made(["text", "toxic", "obscene", "insult", "year"], rows))
    assert found.label_names == ["toxic", "obscene", "insult"]
    assert [each.name for each in found.others] == ["year"]
    two = guess(made(["text", "toxic", "obscene"], [row[:3] for row in rows]))
    assert two.flags == [] and len(two.label_names) == 1


def test_flags_may_be_booleans_and_one_may_never_be_set(made) -> None:  # type: ignore[no-untyped-def]
    rows = [[f"this is the text {n}", str(n % 2 > 0), str(n % 3 > 1), "False", str(n % 5 > 3)]
            for n in range(40)]
    found = guess(made(["text", "joy", "fear", "awe", "rage"], rows))
    assert found.label_names == ["joy", "fear", "awe", "rage"]


def test_other_texts_and_the_reason_why_there_is_not_a_label_are_reported(made) -> None:  # type: ignore[no-untyped-def]
    rows = [[f"this is the text {n}", f"a note of some length {n}", "same"] for n in range(30)]
    with pytest.raises(DataError, match=r'in column "label" every row has the label "same"'):
        guess(made(["text", "note", "label"], rows))
    rows = [[*row[:2], "ab"[n % 2]] for n, row in enumerate(rows)]
    assert guess(made(["text", "note", "label"], rows)).more_texts == ["note"]


HEADERS = [
    (["a quiet room", "0"], True), (["a quiet room of mine", "good"], True), (["text", "label"], False),
    (["0", "1"], False), (["review", "2"], False), (["x", "good"], True), (["some thing", "other"], False),
]


@pytest.mark.parametrize(("names", "lacking"), HEADERS)
def test_a_missing_header_is_noticed(made, names: list[str], lacking: bool) -> None:  # type: ignore[no-untyped-def]
    second = ["good", "bad"] if names[1] in ("good", "other") else ["0", "1"]
    table = made(names, [[f"this is the text {n}", second[n % 2]] for n in range(30)])
    assert lacks_header(table) == lacking


def test_sentences_name_columns_where_another_column_has_a_header(made) -> None:  # type: ignore[no-untyped-def]
    rows = [[f"I liked this {n} very much", ["yes", "no"][n % 2]] for n in range(30)]
    assert not lacks_header(made(["How did you like our shop?", "Would you come again?"], rows))
    assert lacks_header(made(["I liked it all the same", "yes"], rows))


def test_columns_of_one_first_cell_get_names_too(made) -> None:  # type: ignore[no-untyped-def]
    rows = [[str(n), f"this is text {n}", str(n % 2)] for n in range(1, 60)]
    table = made(["0", "a text of words", "0"], rows)
    assert lacks_header(table) and headerless_columns(table) == ("id", "text", "label")
    pairs = [[f"this is text {n}", f"that is it {n}", str(n % 2)] for n in range(60)]
    assert headerless_columns(made(["a text a", "a text b", "1"], pairs)) == ("text1", "text2", "label")


def test_columns_without_names_get_some(made) -> None:  # type: ignore[no-untyped-def]
    rows = [[str(n), f"this is text {n}", f"that is text {n + 1}", str(n % 2), "x"] for n in range(60)]
    table = made(["60", "a text a", "a text b", "1", "x"], rows)
    assert headerless_columns(table) == ("column1", "text1", "text2", "label", "column5")


def test_a_file_without_texts_or_labels_is_reported(made) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="no column holds sentences"):
        guess(made(["a", "b"], [[str(n), str(n % 2)] for n in range(9)]))
    with pytest.raises(DataError, match="no column looks like a label"):
        guess(made(["text"], [[f"this is the text {n}"] for n in range(9)]))
