"""What is not finite ends a training, with the step and the name of what diverged."""

from __future__ import annotations

import math
import re

import pytest
import torch

from networks import tiny_model
from polytask.core.errors import Diverged
from polytask.core.processes import ALONE
from polytask.learn.divergence import check_update, check_weights
from polytask.learn.step import StepRecord


@pytest.mark.parametrize(("record", "message"), [
    (StepRecord(losses={"sst": 1.0, "sts": math.inf}), 'step 7: the loss of task "sts" is inf'),
    (StepRecord(losses={"sst": 1.0}, penalties={"smart/sst": math.nan}), 'the penalty "smart/sst" is nan'),
    (StepRecord(losses={"sst": 1.0}, norm=math.nan), "step 7: the norm of the gradient is nan"),
])
def test_an_update_that_is_not_finite_is_refused(record: StepRecord, message: str) -> None:
    with pytest.raises(Diverged, match=re.escape(message)):
        check_update(record, 7)


def test_a_finite_update_passes() -> None:
    check_update(StepRecord(losses={"sst": 1e30}, penalties={"norm": 0.0}, norm=1e30), 1)


def test_weights_are_refused_only_where_they_are_trained() -> None:
    model = tiny_model()
    check_weights(model, ALONE, 3)
    weight = model.encoder.layers[0].up.weight
    with torch.no_grad():
        weight[0, 0] = math.nan
    with pytest.raises(Diverged, match="step 3: the norm of the weights is nan after it"):
        check_weights(model, ALONE, 3)
    weight.requires_grad_(False)
    check_weights(model, ALONE, 3)
