"""The pages' blocks of YAML and TOML can be read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(yaml|toml)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = sorted({ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/**/*.md")})
BLOCKS = [(page, kind, text) for page in PAGES
          for kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))]
READERS: dict[str, Any] = {"yaml": lambda text: list(yaml.safe_load_all(text)), "toml": tomllib.loads}


@pytest.mark.parametrize(("page", "kind", "text"), BLOCKS,
                         ids=[f"{page.stem}-{number}" for number, (page, _, _) in enumerate(BLOCKS)])
def test_a_block_can_be_read(page: Path, kind: str, text: str) -> None:
    assert READERS[kind](text)


def test_there_are_blocks_of_both_kinds() -> None:
    assert {kind for _, kind, _ in BLOCKS} == {"yaml", "toml"}
