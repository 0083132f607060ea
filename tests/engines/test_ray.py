"""Ray: a study on two nodes, one of which is lost; what cannot work is said at once."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tomli_w

from polytask.commands.compare import compare
from polytask.commands.predict import predict_file
from polytask.commands.predict_shards import predict_shards
from polytask.commands.sweep import sweep
from polytask.core.errors import ConfigError, Interrupted, MissingExtra, PolytaskError
from polytask.core.events import read_events
from polytask.core.paths import StudyPaths
from polytask.core.run_folder import RunFolder
from polytask.engines.job import Job
from polytask.engines.place import Place, read_place

MANY = 200_000

pytestmark = [pytest.mark.filterwarnings("ignore")]
skipped = pytest.mark.skipif(not os.environ.get("POLYTASK_RAY") or importlib.util.find_spec("ray") is None,
                             reason="POLYTASK_RAY is not set, or ray is not installed")


def test_a_place_is_read_from_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polytask.engines.place.find_spec", lambda name: name == "ray" or None)
    assert read_place(None, None) is None
    assert read_place("ray", None) == Place(None, {"cpus": 1.0})
    place = read_place("ray://head:10001", "cpus=2, gpus=1,disk=0.5")
    assert place == Place("ray://head:10001", {"cpus": 2.0, "gpus": 1.0, "disk": 0.5})
    assert place.needs() == "cpus=2,gpus=1,disk=0.5"
    for on, each, said in (("slurm", None, 'found "slurm", expected ray'), (None, "cpus=1", "--on ray"),
                           ("ray", "cpus", 'found "cpus", expected a resource and how much of it'),
                           ("ray", "cpus=-1", "such as cpus=2,gpus=1"), ("ray", "cpus=x", "cpus=x"),
                           ("ray", "CPU=2", 'found "CPU", expected cpus, .*; did you mean "cpus"'),
                           ("ray", "cpus=1,gpu=1", 'did you mean "gpus"')):
        with pytest.raises(ConfigError, match=said):
            read_place(on, each)


def test_without_ray_the_pip_command_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from polytask.engines.ray_cluster import Cluster

    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'--on ray needs an extra: pip install "polytask\[ray\]"'):
        Cluster(Place())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head of one processor, and a node of one."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
                   "RAY_worker_niceness": "0"}
    import ray
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=small)
    del small["include_dashboard"]
    made.other = made.add_node(**small)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def study(small_table: dict[str, Any], tmp_path: Path) -> Path:
    """Six rows of two seeds; without the extras of a run, for they take longer than its training."""
    for task in small_table["tasks"].values():
        task |= {"limit": 16, "dev_limit": 8}
    small_table["tasks"] = {"sst": small_table["tasks"]["sst"]}
    small_table["train"] = {"max_steps": 3, "batch_size": 4}
    small_table["data"]["baselines"] = False
    (tmp_path / "base.toml").write_text(tomli_w.dumps(small_table))
    rows = "".join(f'[[rows]]\nname = "row {n}"\n[rows.set]\n"train.optimizer.lr" = {n}e-3\n'
                   for n in range(1, 7))
    (tmp_path / "study.toml").write_text(f'title = "Rates"\nbase = "base.toml"\nseeds = 2\n{rows}')
    return tmp_path / "study.toml"


def scores(out: Path) -> dict[str, Any]:
    return {str(path.relative_to(out)): json.loads((path / "results.json").read_text())["dev"]["scores"]
            for path in StudyPaths(out).all_runs()}


@pytest.mark.ray
@pytest.mark.timeout(1200)
@skipped
def test_twelve_runs_finish_though_a_node_is_lost(cluster: Any, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def remove_node() -> None:
        while len(list(out.glob("runs/*/*/results.json"))) < 6:
            time.sleep(0.1)
        cluster.remove_node(cluster.other, allow_graceful=False)

    removing = threading.Thread(target=remove_node, daemon=True)
    removing.start()
    result = compare(study, out, on="ray", quiet=True)
    removing.join()
    assert len(scores(out)) == 12 and not result.comparison.failed
    assert not list(out.glob("configs/.shared-*"))
    alone = tmp_path / "alone"
    compare(study, alone, workers=4, quiet=True)
    assert scores(out) == scores(alone)


@pytest.mark.ray
@skipped
def test_runs_come_back_from_nodes_that_share_no_folder(cluster: Any, study: Path, tmp_path: Path) -> None:
    from polytask.engines.ray_cluster import RayEngine

    out = tmp_path / "out"
    compare(study, out, seeds=1, rows=["row 1"], engine=RayEngine(Place(), shared=False), quiet=True)
    (run,) = StudyPaths(out).all_runs()
    assert (run / "model" / "tasks.json").is_file() and not (run / "checkpoints").exists()


@pytest.mark.ray
@pytest.mark.timeout(600)
@skipped
def test_a_lost_node_that_shares_no_folder_has_its_run_trained_anew(cluster: Any, study: Path,
                                                                   tmp_path: Path) -> None:
    from polytask.engines.ray_cluster import RayEngine, RayRun

    class Watched(RayEngine):
        started: ClassVar[list[RayRun]] = []

        def start(self, job: Job) -> RayRun:
            self.started.append(super().start(job))
            return self.started[-1]

    node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    cluster.wait_for_nodes()

    def remove_node() -> None:
        while sum('"step"' in log.read_text() for log in scratch_logs()) < 2:
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)

    removing = threading.Thread(target=remove_node, daemon=True)
    removing.start()
    out, long = tmp_path / "out", ["train.max_steps=200", "train.epochs=100", "train.evaluate_every=200"]
    compare(study, out, seeds=1, rows=["row 1", "row 2"], assignments=long, quiet=True,
            engine=Watched(Place(), shared=False))
    removing.join()
    assert sorted(run.losses for run in Watched.started) == [0, 1]
    compare(study, tmp_path / "alone", seeds=1, rows=["row 1", "row 2"], assignments=long, workers=2,
            quiet=True)
    assert len(scores(out)) == 2 and scores(out) == scores(tmp_path / "alone")
    for run in StudyPaths(out).all_runs():
        steps = [event["step"] for event in read_events(RunFolder(run).events) if event["event"] == "step"]
        assert steps == list(range(1, 201))
    # One machine is all nodes here: the run that is trained anew removes what the lost node has left.
    assert not list(Path(tempfile.gettempdir()).glob(".polytask-run.*"))


def scratch_logs() -> list[Path]:
    """Return the events of the trainings that run in a folder of their node."""
    logs = []
    for process in processes("polytask\0train", ".polytask-run."):
        with suppress(OSError, ValueError):
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
            logs.append(RunFolder(words[words.index("--out") + 1]).events)
    return [log for log in logs if log.is_file()]


@pytest.mark.ray
@pytest.mark.timeout(600)
@skipped
def test_a_sweep_on_ray_is_that_of_local_processes(cluster: Any, study: Path, tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('base = "base.toml"\nsampler = "grid"\npruner = "none"\n[parameters]\n'
                    '"train.optimizer.lr" = [1e-3, 1e-2]\n')
    on_ray = sweep(path, tmp_path / "ray", on="ray", resources="cpus=1", quiet=True)
    alone = sweep(path, tmp_path / "alone", workers=2, quiet=True)
    values = {str(trial.drawn): trial.values for trial in alone.trials}
    assert len(values) == 2 and None not in values.values()
    assert {str(trial.drawn): trial.values for trial in on_ray.trials} == values and not on_ray.failures


@pytest.mark.ray
@skipped
def test_shards_on_actors_equal_plain_prediction(cluster: Any, study: Path, tmp_path: Path) -> None:
    compare(study, tmp_path / "out", seeds=1, rows=["row 1"], quiet=True)
    (run,) = StudyPaths(tmp_path / "out").all_runs()
    data = tmp_path / "rows.csv"
    data.write_text("sentence\n" + "".join(f"text {n}\n" for n in range(300)))
    predict_file(run, ["sst"], data, tmp_path / "plain.csv", "csv", quiet=True)
    predict_shards(run, ["sst"], [data], tmp_path / "parts", rows=100, on="ray", quiet=True)
    parts = [csv_rows for part in sorted(tmp_path.glob("parts/sst/*.csv"))
             for csv_rows in csv.DictReader(part.read_text().splitlines())]
    plain = list(csv.DictReader((tmp_path / "plain.csv").read_text().splitlines()))
    assert [(row["id"], row["prediction"]) for row in parts] == [
        (row["id"], row["prediction"]) for row in plain]


@pytest.mark.ray
@skipped
def test_what_no_node_has_is_reported_at_once(cluster: Any, study: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(PolytaskError, match=r"--each: no living node of the Ray cluster has cpus=64,gpus=1;"
                                            r" the most that .* offers is cpus=1, gpus=0"):
        compare(study, tmp_path / "out", on="ray", resources="cpus=64,gpus=1", quiet=True)
    assert time.monotonic() - began < 30
    with pytest.raises(PolytaskError, match=r'memroy=1; .* is cpus=1, memroy=0; did you mean "memory"'):
        compare(study, tmp_path / "out", on="ray", resources="memroy=1", quiet=True)


@pytest.mark.ray
@pytest.mark.timeout(1200)
@skipped
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_resumes(cluster: Any, study: Path,
                                                                    tmp_path: Path) -> None:
    out = tmp_path / "out"

    def interrupt() -> None:
        while not list(out.glob("runs/*/*/results.json")):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted, match=r"stopped; finished runs are kept; .* --on ray"):
        compare(study, out, seeds=1, on="ray", quiet=True)
    kept = scores(out)
    assert 1 <= len(kept) < 6
    assert not any(RunFolder(folder).busy for folder in StudyPaths(out).all_runs())


@pytest.mark.ray
@pytest.mark.timeout(1200)
@skipped
def test_many_rows_though_an_actor_is_killed(
        cluster: Any, study: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    compare(study, tmp_path / "out", seeds=1, rows=["row 1"], quiet=True)
    (run,) = StudyPaths(tmp_path / "out").all_runs()
    data, out, killed = tmp_path / "rows.csv", tmp_path / "parts", list[int]()
    data.write_text("id,sentence\n" + "".join(f"n{n},text {n % 97}\n" for n in range(MANY)))

    def kill_actor() -> None:
        while len(list(out.glob(".shards/*.json"))) < 2:
            time.sleep(0.02)
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (place / "cmdline").read_bytes().startswith(b"ray::ShardActor") and not killed:
                    killed.append(int(place.name))
                    os.kill(killed[0], signal.SIGKILL)

    killing = threading.Thread(target=kill_actor, daemon=True)
    killing.start()
    began = time.monotonic()
    made = predict_shards(run, ["sst"], [data], out, rows=8192, on="ray", quiet=True)
    record_property("seconds", time.monotonic() - began)
    killing.join()
    assert killed and (made.rows, made.refused) == (MANY, 0)
    ids = [row["id"] for part in sorted(out.glob("sst/part-*.csv"))
           for row in csv.DictReader(part.read_text().splitlines())]
    assert ids == [f"n{n}" for n in range(MANY)]


def processes(*parts: str) -> list[int]:
    """Return the processes whose command line has all parts."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (place / "cmdline").read_bytes().decode("utf-8", "replace")
            if all(part in command for part in parts):
                found.append(int(place.name))
    return found


@pytest.mark.ray
@pytest.mark.timeout(600)
@skipped
def test_a_lost_head_is_one_sentence_and_the_command_resumes(study: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_USAGE_STATS_ENABLED": "0"}
    subprocess.run([Path(sys.executable).with_name("ray"), "start", "--head", f"--port={port}",
                    "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats"], check=True,
                   env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "polytask", "compare", str(study), "--out", str(tmp_path / "out"),
               "--seeds", "1"]
    try:
        running = subprocess.Popen([*command, "--on", "ray"], env=environment, text=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while not list((tmp_path / "out").glob("runs/*/*/results.json")) and running.poll() is None:
            time.sleep(0.1)
        for process in processes("gcs_server", str(port)):
            os.kill(process, signal.SIGKILL)
        _, said = running.communicate(timeout=120)
    finally:
        for process in processes(f"127.0.0.1:{port}") + processes("raylet", str(port)):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
    assert running.returncode == 2 and "is gone (its head has not answered" in said, said[-2000:]
    assert "Traceback" not in said and "the same command resumes" in said
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert len(scores(tmp_path / "out")) == 6
