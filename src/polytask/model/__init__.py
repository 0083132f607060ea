"""The network: encoder, pooling, pairing, heads, adapters. Knows nothing of files or training."""
