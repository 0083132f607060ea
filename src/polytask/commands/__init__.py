"""The verbs: one module each, callable from Python as from the command line."""
