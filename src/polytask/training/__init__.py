"""From a config to a finished run folder: built, trained, finalized."""
