"""A server in a virtual environment of its own with polytask[serve] alone, asked with curl."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import venv
from pathlib import Path

import pytest

import polytask as pk

ROOT = Path(__file__).parents[2]


@pytest.mark.fresh
@pytest.mark.timeout(2400)
def test_a_fresh_environment_serves_a_run_to_curl(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not os.environ.get("POLYTASK_FRESH"):
        pytest.skip("POLYTASK_FRESH is not set: the test downloads packages")
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl is installed")
    served_run: Path = request.getfixturevalue("served_run")  # trained only where the test is not skipped
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    subprocess.run([str(binaries / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check",
                    "-c", str(ROOT / "constraints.txt"), f"{ROOT}[serve]"], check=True)
    run = shutil.copytree(served_run, tmp_path / "run")
    clean = {name: value for name, value in os.environ.items()
             if name != "PYTHONPATH" and not name.startswith("POLYTASK_")}
    server = subprocess.Popen([str(binaries / "polytask"), "serve", str(run), "--port", "0"], text=True,
                              stderr=subprocess.PIPE, env=clean, cwd=tmp_path)
    assert server.stderr is not None
    try:
        line = server.stderr.readline()
        found = re.search(r"http://[\d.:]+", line)
        assert found, line + server.stderr.read()
        done = subprocess.run(
            [curl, "-sS", "--fail", f"{found[0]}/predict", "-H", "content-type: application/json",
             "-d", json.dumps({"texts": "good plot"})],
            capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert server.returncode == 0
    (row,) = json.loads(done.stdout)["results"]
    model = pk.load(served_run)
    assert set(row) == {"stars", "tags", "topic"}
    for task in ("stars", "topic"):
        (expected,) = model.predict(task, ["good plot"])
        assert row[task]["label"] == expected.label
        assert row[task]["score"] == pytest.approx(expected.score, abs=1e-4)
