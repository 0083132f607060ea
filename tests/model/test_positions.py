"""The buckets of distances are transformers' own, beyond the lengths of tiny encoders."""

from __future__ import annotations

import pytest
import torch

from polytask.model.positions import Disentangled, RelativeBias

DISTANCES = torch.arange(-600, 601)


def test_the_buckets_of_mpnet_are_transformers() -> None:
    mpnet = pytest.importorskip("transformers.models.mpnet.modeling_mpnet")
    expected = mpnet.MPNetEncoder.relative_position_bucket(DISTANCES)
    assert torch.equal(RelativeBias.bucket(DISTANCES), expected)


@pytest.mark.parametrize(("buckets", "farthest"), [(256, 512), (8, 512), (32, 40)])
def test_the_buckets_of_deberta_are_transformers(buckets: int, farthest: int) -> None:
    deberta = pytest.importorskip("transformers.models.deberta_v2.modeling_deberta_v2")
    distances = DISTANCES[DISTANCES.abs() < farthest]
    expected = deberta.make_log_bucket_position(distances, buckets, farthest).long()
    assert torch.equal(Disentangled.bucket(distances, buckets, farthest), expected)
