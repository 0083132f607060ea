"""Trackers of experiments: `events.jsonl`, which stays the truth, is replayed into them and followed."""
