"""The verbs of the command line: arguments, options and help. What a verb does is in `commands/`."""
