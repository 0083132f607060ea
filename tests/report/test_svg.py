"""The axes of figures: round ticks, distinct labels, curves that keep their mean."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.report import svg


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 7), (1e-6, 2e-6), (5, 5), (0, 12345)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = svg.ticks(low, high)
    assert 1 <= len(found) <= 11
    assert all(low - 1e-12 <= each <= high * (1 + 1e-9) + 1e-12 for each in found)


@pytest.mark.parametrize("values", [
    [0.4999, 0.49995, 0.5], [1, 1.00001], [-2.5, 0, 2.5], [0, 5e-9], [1e7, 2e7]])
def test_labels_of_an_axis_differ(values: list[float]) -> None:
    said = svg.labelled(values)
    assert len(set(said)) == len(values)
    assert [float(each) for each in said] == pytest.approx(values)


def test_long_curves_are_averaged_and_keep_their_mean() -> None:
    points = [(float(n), float(n % 7)) for n in range(1000)]
    thin = svg.thinned(points, 100)
    assert len(thin) == 100
    assert np.mean([y for _, y in thin]) == pytest.approx(np.mean([y for _, y in points]))
