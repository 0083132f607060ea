"""Tasks: their files, labels, tokens, batches, objectives and metrics."""
