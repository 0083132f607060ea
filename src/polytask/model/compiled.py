"""`train.compile`: what of a layer torch.compile fuses, and how."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


@functools.cache
def compiled(dense: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a layer compiled, once a process, for any number of tokens.

    Attention stays outside: its blocks follow the lengths of a batch, and every new set of lengths would be
    compiled anew. On a GPU dropout zeroes what it does uncompiled; on a CPU, where uncompiled layers draw
    their masks themselves, other elements.
    """
    from torch._inductor import config

    config.fallback_random = True
    return torch.compile(dense, dynamic=True)
