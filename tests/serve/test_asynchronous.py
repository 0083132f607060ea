"""The model for asyncio gives the answers of the plain one, many at a time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polytask as pk
from polytask.core.errors import ConfigError, RunError
from polytask.serve.asynchronous import AsyncModel


def test_coroutines_share_batches_and_give_the_answers_of_predict(
    served_run: Path
) -> None:
    texts = [f"good plot {n}" for n in range(12)]
    direct = pk.load(served_run)

    async def run() -> None:
        model = AsyncModel(direct)
        answers, vectors, both = await asyncio.gather(
            asyncio.gather(*(model.predict("topic", [text]) for text in texts)),
            model.embed(texts),
            model.predict_all(["same", "near"], [("good", "bad")]))
        assert [answer[0].label for answer in answers] == [p.label for p in direct.predict("topic", texts)]
        assert answers[0].to_records()[0]["text"] == texts[0]
        assert (await model.predict("tags", texts))[0].label == direct.predict("tags", texts)[0].label
        assert await model.predict("topic", []) == [] and (await model.embed([])).shape == vectors[:0].shape
        np.testing.assert_allclose(vectors, direct.embed(texts), atol=2e-6)
        assert both["same"][0].label == direct.predict("same", [("good", "bad")])[0].label
        with pytest.raises(ConfigError, match='did you mean "topic"'):
            await model.predict("topik", ["x"])
        with pytest.raises(ConfigError, match="found 'x', expected 2 texts"):
            await model.predict("same", ["x"])
        model.close()
        async with pk.AsyncModel(direct) as other:
            assert await other.predict("topic", texts[:1]) == answers[0]

    asyncio.run(run())


def test_what_fails_or_takes_too_long_is_told_to_the_call_alone(served_run: Path) -> None:
    direct = pk.load(served_run)

    async def run() -> None:
        async with AsyncModel(direct, timeout=0.2) as model:
            answer = model.model.answer

            def slow(layout: Any, tasks: Any, inputs: Any, embed: bool) -> Any:
                time.sleep(0.4)
                return answer(layout, tasks, inputs, embed)

            model.model.answer = slow  # type: ignore[method-assign]
            with pytest.raises(TimeoutError, match=r"not answered within 0\.2 s"):
                await model.predict("topic", ["good"])
            model.timeout = 20.0

            def fails(*given: Any) -> Any:
                raise ValueError("a secret text")

            model.model.answer = fails  # type: ignore[method-assign]
            with pytest.raises(RunError, match=r"model: input 0: the model failed on it \(ValueError\)$"):
                await model.predict("topic", ["good"])
            model.model.answer = answer  # type: ignore[method-assign]
            assert len(await model.predict("topic", ["good"])) == 1
        with pytest.raises(RunError, match="this AsyncModel is closed"):
            await model.embed(["good"])

    asyncio.run(run())
