"""Putting a trained model to work. Does not import the trainer."""
