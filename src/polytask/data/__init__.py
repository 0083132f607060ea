"""From files of rows to flat batches: reading, labels, splits, tokens, validation."""
