"""Train five small runs with a source tree and print the digest of their weights: same numbers, same code.

    python bench/same_weights.py src            equal output for two trees: the refactoring changed nothing
    python bench/same_weights.py OTHER/src

The runs are the demo, PCGrad with automatic weights, SMART, LoRA, and two phases with EMA: one thread,
one seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.numpy import load_file

# The batch and the rate that the digests of earlier trees were made with.
SETTINGS = {"batch_size = 8": "batch_size = 16", "lr = 2e-4": "lr = 1e-4"}
DEMO = (Path(__file__).parent.parent / "examples" / "demo.toml").read_text(encoding="utf-8")
for ours, earlier in SETTINGS.items():
    if ours not in DEMO:
        raise SystemExit(f"examples/demo.toml has no line with {ours!r}: correct SETTINGS")
    DEMO = DEMO.replace(ours, earlier)
SHORT = DEMO.replace("epochs = 3", "epochs = 1\nmax_steps = 24")
RUNS = {
    "demo": DEMO.replace("epochs = 3", "epochs = 1"),
    "pcgrad-automatic": SHORT + 'surgery = "pcgrad"\nweighting = "automatic"\n',
    "smart": SHORT + '[[train.regularizers]]\ntype = "smart"\nweight = 0.5\ntasks = ["sst"]\n',
    "lora": SHORT.replace("[encoder]", '[encoder]\nadapter = { type = "lora", rank = 8 }'),
    "phased": SHORT.replace("max_steps = 24\n", "") + """ema = 0.99
[[train.phases]]
tasks = ["quora", "sts"]
max_steps = 12
[[train.phases]]
max_steps = 12
optimizer = { lr_schedule = "cosine" }
schedule = "proportional"
""",
}


def digest(run: Path) -> tuple[int, str]:
    """Return the number of a run's tensors and the sha256 of their names, shapes and bytes."""
    hashed, count = hashlib.sha256(), 0
    for path in sorted((run / "model").rglob("*.safetensors")):
        for name, tensor in sorted(load_file(path).items()):
            hashed.update(f"{path.relative_to(run)} {name} {tensor.shape}".encode())
            hashed.update(tensor.tobytes())
            count += 1
    return count, hashed.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder that holds the package polytask")
    source = parser.parse_args().source.resolve()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        env = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1",
               "POLYTASK_CACHE": str(place / "cache")}
        for name, config in RUNS.items():
            (place / f"{name}.toml").write_text(config, encoding="utf-8")
            subprocess.run([sys.executable, "-m", "polytask", "train", f"{name}.toml", "--out", name,
                            "--quiet"], cwd=place, env=env, check=True, stdout=subprocess.DEVNULL)
            count, sha256 = digest(place / name)
            score = json.loads((place / name / "results.json").read_text(encoding="utf-8"))["dev"]["score"]
            print(f"{name:<18} {count:4} tensors  sha256 {sha256[:16]}  dev {score!r}", flush=True)


if __name__ == "__main__":
    main()
