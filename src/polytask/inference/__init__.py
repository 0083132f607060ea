"""A trained model at work: forward passes over many rows, prediction, records. Never imports learning."""
