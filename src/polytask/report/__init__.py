"""The report: one page that shows where a model is right, where it is wrong, and why."""
