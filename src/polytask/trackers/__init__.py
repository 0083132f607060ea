"""Experiment trackers: `events.jsonl` stays the source of truth, and is replayed into them."""
