"""The model for asyncio gives the answers of the plain one, many at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

import polytask as pk
from polytask.core.errors import ConfigError
from polytask.serve.asynchronous import AsyncModel
from polytask.serve.torch_engine import TorchEngine


def test_coroutines_share_batches_and_give_the_answers_of_predict(
    engine: TorchEngine, served_run: Path
) -> None:
    texts = [f"good plot {n}" for n in range(12)]
    direct = pk.load(served_run)

    async def run() -> None:
        model = AsyncModel(engine)
        answers, vectors, both = await asyncio.gather(
            asyncio.gather(*(model.predict("topic", [text]) for text in texts)),
            model.embed(texts),
            model.predict_all(["same", "near"], [("good", "bad")]))
        assert [answer[0].label for answer in answers] == [p.label for p in direct.predict("topic", texts)]
        np.testing.assert_allclose(vectors, direct.embed(texts), atol=2e-6)
        assert both["same"][0].label == direct.predict("same", [("good", "bad")])[0].label
        with pytest.raises(ConfigError, match='did you mean "topic"'):
            await model.predict("topik", ["x"])
        with pytest.raises(ConfigError, match="found 1 texts, expected 2"):
            await model.predict("same", ["x"])
        model.close()

    asyncio.run(run())
