"""The machine of a run, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.training.machine import machine, processor, together

INFO = ("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu {}\n\n"
        "processor\t: 1\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu {}\n")


@pytest.mark.parametrize(("flags", "said"), [
    ("avx2", "Some CPU @ 2 GHz (AVX2)"), ("avx2 avx512f", "Some CPU @ 2 GHz (AVX-512)"),
    ("avx2 avx512f amx_bf16", "Some CPU @ 2 GHz (AVX-512, AMX)"), ("sse2", "Some CPU @ 2 GHz")])
def test_a_processor_is_named_with_its_best_instructions(flags: str, said: str, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(INFO.format(flags, flags), encoding="utf-8")
    assert processor(info) == said


def test_a_processor_that_is_not_told_has_a_name_all_the_same(tmp_path: Path) -> None:
    assert processor(tmp_path / "none")
    assert " cores, torch " in machine() and machine().startswith(processor())


def test_machines_of_several_runs_are_told_once_with_their_number() -> None:
    assert together(["a", "a"]) == "a"
    assert together(["a", "b", "a"]) == "a (2 runs); b (1 run)"
