"""Attention over a flat batch on a GPU: one kernel for sequences of any length, without padding.

PyTorch's public functions are not enough: `torch.nn.attention.varlen` knows neither dropout nor float32,
nested tensors take ten times as long as the kernel they call, and for every new shape
`scaled_dot_product_attention` may have cuDNN compile a plan, which takes longer than the whole update. So
the two kernels are called as nested tensors call them: flash attention for half precision, and
memory-efficient attention for float32 where no weight is dropped. Its forward pass over sequences of
several lengths takes the number of keys for 0 where it places the random numbers of a sequence and a head
(pytorch/pytorch#115590), its backward pass does not: other weights would be dropped there, and the gradient
would be that of another function.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from polytask.data.batch import on_device

_HALF = (torch.float16, torch.bfloat16)


def has_varlen(qkv: Tensor, head_width: int, window: int | None, p: float) -> bool:
    """Tell whether a kernel takes these queries, keys and values (T, 3W), and drops weights with `p`."""
    if not (qkv.is_cuda and len(qkv)) or torch.cuda.get_device_capability(qkv.device) < (8, 0):
        return False
    if qkv.dtype in _HALF:  # wider heads have no backward pass on every card
        return head_width % 8 == 0 and head_width <= 192
    return qkv.dtype == torch.float32 and head_width % 4 == 0 and window is None and p == 0


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # a later pass may have to save them for its gradient
def sequence_starts(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Return where each sequence begins, and the number of tokens: (sequences + 1,) int32."""
    counts = torch.tensor((0, *lengths), dtype=torch.int32)
    return on_device(counts.cumsum(0, dtype=torch.int32), device)


def attend_varlen(qkv: Tensor, lengths: tuple[int, ...], heads: int, p: float, scale: float,
                  window: int | None) -> Tensor:
    """Mix the tokens of each sequence: (T, 3W) to (T, W); `p` is the probability of dropping a weight."""
    starts, longest = sequence_starts(lengths, qkv.device), max(lengths)
    q, k, v = qkv.view(len(qkv), 3, heads, -1).unbind(1)                    # (T, heads, d)
    if qkv.dtype in _HALF:
        mixed: Tensor = torch.ops.aten._flash_attention_forward(
            q, k, v, starts, starts, longest, longest, p, False, False, scale=scale,
            window_size_left=window, window_size_right=window)[0]
        return mixed.flatten(1)
    mixed = torch.ops.aten._efficient_attention_forward(
        q[None], k[None], v[None], None, starts, starts, longest, longest, p, 0, True, scale=scale)[0]
    return mixed[0].flatten(1)
