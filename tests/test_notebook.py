"""The notebook of the examples, executed as Jupyter does it, with a small encoder and few updates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_and_shows_tables(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "changes.toml").write_text(f'checkpoint = "{tiny_checkpoint}"\nmax_steps = 3\n')
    source = os.pathsep.join(filter(None, [str(NOTEBOOK.parents[1] / "src"), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", source)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in book.cells), "commit the notebook without outputs"
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3",
                            resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if output.output_type == "execute_result"]
    assert [("text/html" in data) for data in shown] == [False, True, True, True]
    assert "<td>reviews</td>" in shown[1]["text/html"]
    assert "TF-IDF with logistic regression" in str(shown[2])
    bars = [output.data["text/html"] for output in outputs if output.output_type == "display_data"]
    assert any("training <progress max=3 value=3></progress>" in bar for bar in bars)
    assert (tmp_path / "runs" / "notebook" / "report.html").is_file()
