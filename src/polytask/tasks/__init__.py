"""Tasks: their files, labels, tokens, batches, losses and metrics."""
