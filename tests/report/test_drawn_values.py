"""What figures draw: each point, bar and cell read back from the picture, on the axes that it shows."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawings import SVG, Drawing, near
from polytask.data.labels import Labels
from polytask.report.multi_run import overlaid, study_figures
from polytask.report.plots import run_figures
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.curves import training_figures
from polytask.report.sections.internals import attention, attention_figures, cloud_figure
from polytask.report.sections.internals import drawing as model_section
from polytask.report.sections.labels import confusion_figure, distribution_figures, recall_figures
from polytask.report.sections.regression import residual_figure, scatter_figure
from polytask.report.sections.summary import scores
from polytask.report.svg import Figure, Picture
from written_answers import answers

TRUE, PREDICTED = ["0", "5", "1", "4.5", "2"], ["0.5", "3", "2", "4", "0"]
FIVE = Labels("classes", tuple("01234"))
# Update → the scores on dev and on training rows, and the loss.
COURSE = {4: (0.3, 0.4, 1.5), 8: (0.5, 0.7, 0.9), 12: (0.45, 0.95, 0.2)}


def course(falling: bool = False) -> RunRecord:
    """A run of two tasks; the first task's score falls while the other's rises if it is `falling`."""
    events: list[dict[str, Any]] = []
    for step, (dev, train, loss) in COURSE.items():
        sst = 1 - dev if falling else dev
        events += [{"event": "step", "step": step, "losses": {"sst": loss, "sts": loss / 2}},
                   {"event": "evaluation", "step": step, "overall": {"mean": (sst + dev / 2) / 2},
                    "dev": {"sst": {"accuracy": sst, "macro_f1": 0.1}, "sts": {"pearson": dev / 2}},
                    "train": {"sst": {"accuracy": train}, "sts": {"pearson": train / 2}}}]
    return RunRecord(Path("run"), {}, events, {}, {}, {}, {}, {})


@pytest.mark.technique("T-34", "P-27")
def test_a_scatter_has_the_true_numbers_across_and_the_predicted_ones_up() -> None:
    drawing = Drawing(scatter_figure("sts", answers(TRUE, PREDICTED)))
    (points,) = drawing.dots()
    assert near(points, [*zip(map(float, TRUE), map(float, PREDICTED), strict=True)])
    assert drawing.titles() == ("true", "predicted")
    (line,) = drawing.rules()
    assert near(line, [(0, 0), (5, 5)])  # of slope 1


def test_residuals_are_predicted_minus_true() -> None:
    drawing = Drawing(residual_figure("sts", answers(TRUE, PREDICTED)))
    filled = [box for box in drawing.boxes() if drawing.height(box) > 0.5]
    places = [(drawing.across(float(box.attrib["x"])),
               drawing.across(float(box.attrib["x"]) + float(box.attrib["width"]))) for box in filled]
    for gap in (0.5, -2, 1, -0.5, -2):
        assert any(low - 0.01 <= gap <= high + 0.01 for low, high in places), gap
    assert sum(round(drawing.height(box)) for box in drawing.boxes()) == 5


@pytest.mark.technique("G-30", "T-33", "T-34")
def test_curves_have_each_tasks_score_and_loss_at_its_update_and_training_rows_dashed() -> None:
    figures = dict(training_figures(course()))
    lines = Drawing(figures["scores"]).lines()
    wanted = {
        ("sst accuracy", False): [(step, dev) for step, (dev, _, _) in COURSE.items()],
        ("sts pearson", False): [(step, dev / 2) for step, (dev, _, _) in COURSE.items()],
        ("overall mean", False): [(step, 0.75 * dev) for step, (dev, _, _) in COURSE.items()],
        ("sst accuracy, train", True): [(step, train) for step, (_, train, _) in COURSE.items()],
        ("sts pearson, train", True): [(step, train / 2) for step, (_, train, _) in COURSE.items()],
    }
    assert lines.keys() == wanted.keys()
    assert all(near(lines[name], points) for name, points in wanted.items())
    assert Drawing(figures["scores"]).titles() == ("updates", "score")
    losses = Drawing(figures["losses"]).lines()
    assert near(losses["sst", False], [(step, loss) for step, (_, _, loss) in COURSE.items()])
    assert near(losses["sts", False], [(step, loss / 2) for step, (_, _, loss) in COURSE.items()])


def pictures(page: str) -> dict[str, Drawing]:
    """Return caption → drawing of the figures in a part of a page."""
    found = {}
    for caption, body in re.findall(r"<figcaption>(.*?)</figcaption>.*?<svg[^>]*>(.*?)</svg>", page):
        found[caption] = Drawing(Figure(Picture(460, 240, body), caption))
    return found


@pytest.mark.technique("T-14", "T-33")
def test_curves_of_training_orders_lie_over_each_other_and_show_what_is_forgotten() -> None:
    (_, _, scores), (_, _, losses) = overlaid({"sequential": course(falling=True), "in turn": course()})
    drawn = pictures(scores)
    assert drawn.keys() == {"sst accuracy", "sts pearson", "overall mean"}
    sst = drawn["sst accuracy"].lines()
    assert near(sst["sequential", False], [(step, 1 - dev) for step, (dev, _, _) in COURSE.items()])
    assert near(sst["in turn", False], [(step, dev) for step, (dev, _, _) in COURSE.items()])
    assert near(drawn["sts pearson"].lines()["sequential", False],
                [(step, dev / 2) for step, (dev, _, _) in COURSE.items()])
    assert near(pictures(losses)["sts"].lines()["in turn", False],
                [(step, loss / 2) for step, (_, _, loss) in COURSE.items()])


def standing(drawing: Drawing) -> dict[tuple[str, str], float]:
    """Return (name below, colour) → value of each bar."""
    return {(drawing.under(float(box.attrib["x"])), box.attrib["fill"]): drawing.height(box)
            for box in drawing.boxes()}


def bars(drawing: Drawing, names: str) -> dict[str, list[float]]:
    """Return name → values of its bars, in the order of the groups."""
    heights = standing(drawing)
    colours = list(dict.fromkeys(colour for _, colour in heights))
    return {name: [heights[name, colour] for colour in colours] for name in names}


@pytest.mark.technique("S-26")
def test_bars_of_a_split_are_the_shares_of_its_labels() -> None:
    task = TaskRecord("sst", {}, FIVE, histograms={"train": {"counts": [10, 20, 40, 20, 10]},
                                                   "dev": {"counts": [0, 3, 1, 0, 4]}})
    (shown,) = distribution_figures(task, course())
    assert shown.names == ("train", "dev") and "train 100 rows, dev 8 rows" in shown.caption
    found = bars(Drawing(shown), "01234")
    wanted = zip((0.1, 0.2, 0.4, 0.2, 0.1), (0, 0.375, 0.125, 0, 0.5), strict=True)
    for name, values in zip("01234", wanted, strict=True):
        assert found[name] == pytest.approx(values, abs=0.003), name


@pytest.mark.technique("G-37", "G-38")
def test_bars_of_a_label_are_its_recall_and_its_share() -> None:
    dev = answers([*"0012233344"], [*"0112232344"])
    (shown,) = recall_figures("sst", dev, FIVE)
    assert shown.names == ("recall", "share of the rows")
    found = bars(Drawing(shown), "01234")
    wanted = {"0": (1 / 2, 0.2), "1": (1, 0.1), "2": (1, 0.2), "3": (2 / 3, 0.3), "4": (1, 0.2)}
    assert all(found[name] == pytest.approx(values, abs=0.005) for name, values in wanted.items())
    numbers = answers(["0.4", "2.5", "4.6", "5"], ["0.1", "1.8", "4.2", "4.9"])
    (shown,) = recall_figures("sts", numbers, Labels("regression", (), 0, 5))
    found = bars(Drawing(shown), "025")  # both are rounded, halves to even
    assert {name: values[0] for name, values in found.items()} == pytest.approx(
        {"0": 1, "2": 1, "5": 0.5}, abs=0.01)


@pytest.mark.technique("T-37", "P-26")
def test_a_confusion_has_the_true_classes_in_rows() -> None:
    names = Labels("classes", ("bad", "good"))
    shown = confusion_figure("sst", answers(["bad"] * 4 + ["good"], ["good"] * 3 + ["bad", "good"]), names)
    assert Drawing(shown).cells() == {("bad", "bad"): 0.25, ("bad", "good"): 0.75,
                                      ("good", "bad"): 0, ("good", "good"): 1}
    assert {"3 · 75%", "1 · 25%", "0 · 0%", "1 · 100%"} <= Drawing(shown).texts()
    assert "rows true, columns predicted" in shown.caption


@pytest.mark.technique("T-35")
def test_the_cloud_has_each_rows_components_in_the_colour_of_its_label() -> None:
    spread = np.array([[-3, -1], [3, -1], [-3, 1], [3, 1.0]])
    dev = answers(["0", "4", "2", "0"], ["1"] * 4)
    task = TaskRecord("sst", {}, FIVE, {"dev": dev}, vectors=spread, vector_rows=np.array([2, 0, 1, 3]))
    shown = cloud_figure(task, dev, FIVE)
    assert shown.names == tuple("01234")
    by_label = dict(zip("01234", Drawing(shown).dots(), strict=True))
    assert near(by_label["2"] + by_label["0"] + by_label["4"],
                [(-3, -1), (3, -1), (3, 1), (-3, 1)])  # rows 2; 0 and 3; 1
    assert by_label["1"] == by_label["3"] == []


def test_the_cloud_colours_a_row_of_several_labels_by_the_first_whatever_is_in_its_name() -> None:
    spread = np.array([[-3, -1], [3, -1], [0, 2.0]])
    for kind, cells in (("multi-label", ['["a|b"]', '["a|b", "c"]', "c"]),
                        ("classes", ["a|b", "a|b", "c"])):
        labels = Labels(kind, ("a", "a|b", "c"))  # type: ignore[arg-type]
        dev = answers(cells, ["a"] * 3)
        task = TaskRecord("tags", {}, labels, {"dev": dev}, vectors=spread, vector_rows=np.arange(3))
        assert [len(dots) for dots in Drawing(cloud_figure(task, dev, labels)).dots()] == [0, 2, 1]
        results = {"dev": {"scores": {"tags": {"accuracy": 0.5}}}}
        page = scores(RunRecord(Path("run"), {}, [], results, {}, {"tags": task}, {}, {}))
        assert "always &quot;a|b&quot;" in page


def attended() -> RunRecord:
    maps = np.random.default_rng(3).integers(0, 256, (12, 2, 3, 3)).astype(np.uint8)
    kept = {"task": "sts", "texts": ["one", "two"], "tokens": ["[CLS]", "one", "two"]}
    return RunRecord(Path("run"), {}, [], {}, {}, {}, {"attention": [kept]}, {"attention/0": maps})


@pytest.mark.technique("S-25")
def test_maps_of_attention_are_the_first_heads_of_early_middle_and_late_layers() -> None:
    run = attended()
    figures = dict(attention_figures(run))
    assert [*figures] == ["attention-layer-1", "attention-layer-6", "attention-layer-11"]
    tokens = run.artifacts["attention"][0]["tokens"]
    for layer in (0, 5, 10):
        cells = Drawing(figures[f"attention-layer-{layer + 1}"]).cells()
        wanted = run.arrays["attention/0"][layer, 0] / 255
        assert cells == pytest.approx({(row, column): wanted[i, j] for i, row in enumerate(tokens)
                                       for j, column in enumerate(tokens)}, abs=6e-4)


@pytest.mark.technique("S-25")
def test_the_page_holds_the_attention_of_every_layer_and_head() -> None:
    run = attended()
    page = attention(run)
    (data,) = (json.loads(text) for text in re.findall(r"<script[^>]*>(.*?)</script>", page))
    assert data["tokens"] == ["[CLS]", "one", "two"] and data["heads"] == 2
    maps = np.frombuffer(base64.b64decode(data["maps"]), np.uint8).reshape(12, 2, 3, 3)
    np.testing.assert_array_equal(maps, run.arrays["attention/0"])
    assert page.count("<option") == 12 + 2


@pytest.mark.technique("S-29")
def test_the_page_says_where_the_words_of_a_pair_look_in_each_layer() -> None:
    maps = np.zeros((2, 1, 6, 6), np.uint8)
    maps[0, 0, 1, 2] = maps[0, 0, 2, 1] = maps[1, 0, 4, 1] = 255
    kept = {"task": "sts", "texts": ["one two", "one"],
            "tokens": ["[CLS]", "one", "two", "[SEP]", "one", "[SEP]"]}
    run = RunRecord(Path("run"), {}, [], {}, {}, {}, {"attention": [kept]}, {"attention/0": maps})
    head, *rows = re.findall(r"<tr>(.*?)</tr>", attention(run))
    assert re.findall(r">([^<]+)<", head) == [
        "layer", "to the other text", "to neighbours", "to the same word in the other text"]
    assert [re.findall(r">([^<]+)<", row) for row in rows] == [
        ["1", "0.000", "0.667", "0.000"], ["2", "0.333", "0.000", "0.333"]]


def results(scores: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Results of a study: row → its accuracy and its correlation."""
    keys = ("sst.accuracy", "sts.pearson")
    rows = [{"name": name, "scores": {key: {"mean": value, "error": 0.01}
                                      for key, value in zip(keys, values, strict=True)}}
            for name, values in scores.items()]
    return {"rows": rows, "scores": list(keys)}


@pytest.mark.technique("M-41", "M-42")
def test_rows_of_a_study_have_their_scores_and_a_dashed_line_at_the_mean() -> None:
    scores = {"B1": (0.3, 0.1), "B2": (0.5, 0.2), "E1": (0.4, 0.6)}
    figures = dict(study_figures(results(scores)))
    assert [*figures] == ["rows", "rows-sst.accuracy", "rows-sts.pearson"]
    for name, keys in (("rows", ("sst.accuracy", "sts.pearson")), ("rows-sst.accuracy", ("sst.accuracy",)),
                       ("rows-sts.pearson", ("sts.pearson",))):
        lines = Drawing(figures[name]).lines()
        for key in keys:
            values = [row[("sst.accuracy", "sts.pearson").index(key)] for row in scores.values()]
            mean = float(np.mean(values))
            assert near(lines[f"{key}, mean of the rows", True], [(0.5, mean), (3.5, mean)])
            for place, (row, value) in enumerate(zip(scores, values, strict=True), 1):
                ((point,),) = [points for (title, _), points in lines.items()
                               if title.startswith(f"{row}, {key}: ")]
                assert point == pytest.approx((place, value), abs=0.01)
        assert len(lines) == 4 * len(keys)


CONFIG: dict[str, Any] = {
    "encoder": {"checkpoint": "bert-base-uncased", "pooling": "pooler", "adapter": {"type": "pal"}},
    "train": {"schedule": "balanced", "weighting": {"type": "uncertainty"}, "surgery": "pcgrad"},
}
PAIR = ["sentence1", "sentence2"]
TASKS: dict[str, tuple[dict[str, Any], Labels]] = {
    "sst": ({"text": "sentence", "loss": ["cross_entropy", "ordinal_log_loss"],
             "head": {"type": "linear", "dropout": 0.5}}, FIVE),
    "sts": ({"text": PAIR, "loss": "mean_squared_error", "pooling": "mean",
             "pairing": {"type": "bi_encoder", "features": ["u", "v", "abs_diff"]},
             "head": {"type": "mlp", "dropout": 0.5, "activation": "relu", "hidden_dropout": 0.3}},
            Labels("regression", (), 0, 5)),
    "quora": ({"text": PAIR, "loss": "binary_cross_entropy", "pairing": "cross_encoder",
               "head": {"type": "shared", "hidden": 40}}, Labels("binary", ("no", "yes"))),
    "msr": ({"text": PAIR, "loss": "binary_cross_entropy", "pairing": "cross_encoder",
             "head": {"type": "shared", "hidden": 40}}, Labels("binary", ("no", "yes"))),
}
DRAWN = {
    "sst": ["sst: sentence", "pairing: single", "pooling: pooler", "head: linear: dropout 0.5",
            "cross_entropy + ordinal_log_loss: classes, 5 classes"],
    "sts": ["sts: sentence1, sentence2", "pairing: bi_encoder of u, v, abs_diff", "pooling: mean",
            "head: mlp: dropout 0.5, activation relu, hidden_dropout 0.3",
            "mean_squared_error: numbers from 0 to 5"],
    "quora": ["quora: sentence1, sentence2", "pairing: cross_encoder", "pooling: pooler",
              "head: shared: hidden 40", "binary_cross_entropy: binary, 2 classes"],
    "msr": ["msr: sentence1, sentence2", "pairing: cross_encoder", "pooling: pooler",
            "head: shared: hidden 40", "binary_cross_entropy: binary, 2 classes"],
}


def model_of(names: list[str], config: dict[str, Any]) -> RunRecord:
    facts = {"model": {"layers": 12, "width": 768, "parameters": 109_482_240}}
    return RunRecord(Path("run"), config, [], {}, {}, {name: TaskRecord(name, *TASKS[name])
                                                       for name in names}, facts, {})


@pytest.mark.technique("M-40", "M-43", "G-34", "S-27", "T-36")
@pytest.mark.parametrize("names", [["sst"], ["sst", "sts"], ["quora", "sts", "sst"]])
def test_the_drawing_of_the_model_has_what_the_config_has_and_nothing_else(names: list[str]) -> None:
    """A column a task, from its text down to its loss, and one encoder over all of them."""
    drawing = Drawing(dict(run_figures(model_of(names, CONFIG)))["model"])
    *boxes, encoder = sorted(drawing.boxes(), key=lambda box: (
        box.findtext(f"{SVG}title", "").startswith("encoder"), *(float(box.attrib[key]) for key in "xy")))
    titles = [box.findtext(f"{SVG}title") for box in boxes]
    assert titles == [title for name in names for title in DRAWN[name]]
    assert encoder.findtext(f"{SVG}title") == (
        "encoder bert-base-uncased: 12 layers, 768 wide, 109.5 million parameters, trainable: full, "
        "adapter: pal")
    assert float(encoder.attrib["width"]) == max(
        float(box.attrib["x"]) + float(box.attrib["width"]) for box in boxes)
    assert len({box.attrib["x"] for box in boxes}) == len(names)
    written = [str(each.text) for each in drawing.upright]
    assert len(written) == 2 * len(drawing.boxes())
    assert {"encoder bert-base-uncased", "pairing", "pooling", *names} <= {*written}


@pytest.mark.technique("M-40", "S-27")
def test_the_words_under_the_drawing_say_what_connects_the_tasks() -> None:
    page = model_section(model_of(["sst", "quora", "msr"], CONFIG))
    assert "Across the tasks: schedule: balanced, weighting: uncertainty, surgery: pcgrad." in page
    assert "quora and msr share the first layer of their heads." in page
    plain = model_section(model_of(["sst"], {}))
    assert "Across the tasks: the losses are summed." in plain and "share the first layer" not in plain
