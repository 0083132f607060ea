"""Serving: one trained model behind HTTP, every task of a text for one pass of the encoder."""
