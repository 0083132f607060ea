"""The package: the wheel has every file of the sources and runs the demo alone; the sdist has the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True,
                   capture_output=True)
    return folder


def test_the_wheel_has_every_file_of_the_sources(built: Path) -> None:
    wheel = next(built.glob("*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "polytask").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    assert sources <= names
    assert {name for name in names - sources if ".dist-info/" not in name} == set()
    assert "polytask/py.typed" in names and any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_has_what_building_and_testing_needs(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt",
            "tests/conftest.py", "examples/demo.toml", "docs/settings.md",
            "src/polytask/sample/demo.toml"} <= names


def test_the_wheel_alone_runs_the_demo(built: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    wheel = str(next(built.glob("*.whl")))
    subprocess.run([*install, "--target", str(alone), wheel], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(alone), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import polytask; from polytask.cli import main; "
         f"assert polytask.__file__.startswith({str(alone)!r}); main()", "demo", "--out", "demo", "-q",
         "--set", f"encoder.checkpoint={tiny_checkpoint}", "--set", "train.max_steps=1",
         "--set", "data.max_length=16", "--set", "data.baselines=false"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report: demo/report.html" in done.stdout and (alone / "bin" / "polytask").is_file()
    assert (tmp_path / "demo" / "report.html").is_file()


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
