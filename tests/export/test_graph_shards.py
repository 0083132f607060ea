"""Shards answered by graphs: the same bytes with one worker and with two, and as in one go."""

from __future__ import annotations

from pathlib import Path

import pytest
from exported_models import Exported

from polytask.commands.predict import predict_file
from polytask.commands.predict_shards import predict_shards
from polytask.inference.contract import CHUNK

ROWS = CHUNK + 300
TASK = "labels-many"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("id,a,b\n" + "".join(f"n{n},text {n % 89},{'a film ' * (n % 4)}of {n}\n"
                                         for n in range(ROWS)), encoding="utf-8")
    return path


@pytest.mark.parametrize("engine", ["onnx", "int8"])
@pytest.mark.usefixtures("forked_commands")
def test_one_worker_and_two_write_the_same_parts(every: Exported, data: Path, tmp_path: Path, engine: str,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    outs = [tmp_path / "one", tmp_path / "two"]
    for workers, out in enumerate(outs, 1):
        made = predict_shards(every.folder, [TASK], [data], out, rows=CHUNK, workers=workers, engine=engine,
                              quiet=True)
        assert (made.rows, made.refused) == (ROWS, 0)
    one, two = ([part.read_bytes() for part in sorted(out.glob("*/part-*.csv"))] for out in outs)
    assert len(one) == 2 and one == two
    predict_file(every.folder, [TASK], data, tmp_path / "plain.csv", "csv", quiet=True, engine=engine)
    header = one[1].partition(b"\n")[0] + b"\n"
    assert one[0] + one[1].removeprefix(header) == (tmp_path / "plain.csv").read_bytes()
