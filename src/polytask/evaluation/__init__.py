"""Evaluation: a model's scores on its tasks, and the card that reports them."""
