"""Adapters: task-specific or low-rank pieces in the encoder. At the start they change nothing."""

from polytask.model.adapters.contract import Adapter, adapter
from polytask.model.adapters.lora import LoRA, merged
from polytask.model.adapters.pal import PAL, ProjectedAttention, TaskAdapters

__all__ = ["PAL", "Adapter", "LoRA", "ProjectedAttention", "TaskAdapters", "adapter", "merged"]
