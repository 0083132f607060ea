"""Names of prediction columns beside any names of the user's."""

from __future__ import annotations

from polytask.data.prediction_columns import PredictionColumns, known_labels


def test_ours_give_way_to_the_user_s() -> None:
    own = PredictionColumns.beside(["prediction", "prediction_", "id"])
    assert (own.prediction, own.id, own.score) == ("prediction__", "id_", "score")
    assert own.renamed == {"prediction": "prediction__", "id": "id_"}
    (note,) = own.notes()
    assert note.startswith('predictions have "id_" instead of "id", "prediction__" instead of "prediction"')
    assert PredictionColumns.beside(["text"]) == PredictionColumns()
    assert PredictionColumns().notes() == []


def test_rows_whose_label_is_known() -> None:
    assert known_labels(["a", "", "b"], several=False) == [0, 2]
    assert known_labels(["a", "", "b"], several=True) == [0, 1, 2]
    assert known_labels(["a", "", "[]"], several=True) == [0, 2]
