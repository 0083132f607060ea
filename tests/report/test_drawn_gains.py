"""The page of a study draws every row's difference to the base row, score by score."""

from __future__ import annotations

import re
from typing import Any

import pytest

from polytask.report.multi_run import _gains


def row(name: str, **differences: tuple[float, float, str]) -> dict[str, Any]:
    return {"name": name, "gains": {}, "differences": {
        key: {"mean": mean, "error": error, "verdict": verdict}
        for key, (mean, error, verdict) in differences.items()}}


@pytest.mark.technique("G-39")
def test_the_improvement_of_each_task_is_drawn_with_its_error() -> None:
    """surgery, Figure 9: from the baseline to the final model."""
    rows = [row("baseline"), row("final model", quora=(0.06, 0.01, "better"), sst=(0.17, 0.02, "better"),
                                 sts=(-0.1, 0.03, "worse"), mean=(0.04, 0.03, "tie")),
            row("in between", quora=(0.03, 0.01, "better"), sst=(0.0, 0.02, "tie"),
                sts=(0.05, 0.04, "tie"), mean=(0.02, 0.01, "tie"))]
    results = {"against": "baseline", "primary": "mean", "scores": ["quora", "sst", "sts", "mean"]}
    drawn = re.findall(r"<figure.*?</figure>", _gains(results, rows), re.DOTALL)
    assert [re.search(r"(\w+): the mean and two", each)[1] for each in drawn] == [
        "mean", "quora", "sst", "sts"]
    for key, picture in zip(("mean", "quora", "sst", "sts"), drawn, strict=True):
        points = [float(x) for x in re.findall(r"<circle cx=([\d.]+)", picture)]
        bars = [(float(a), float(b))
                for a, b in re.findall(r'<path d="M([\d.]+) [\d.]+H([\d.]+)"', picture)]
        zero = float(re.search(r'<path class=rule d="M([\d.]+)', picture)[1])
        wanted = [each["differences"][key] for each in rows[1:]]
        means = [each["mean"] for each in wanted]
        place = means.index(max(means, key=abs))
        scale = (points[place] - zero) / means[place]  # pixels for a score of 1
        assert scale > 0
        for each, point, bar in zip(wanted, points, bars, strict=True):
            assert (point - zero) / scale == pytest.approx(each["mean"], abs=1e-3)
            assert (bar[0] - zero) / scale == pytest.approx(each["mean"] - 2 * each["error"], abs=1e-3)
            assert (bar[1] - zero) / scale == pytest.approx(each["mean"] + 2 * each["error"], abs=1e-3)
