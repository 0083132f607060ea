"""`python -m polytask`."""

import os
import sys

# `python -m` puts the current folder before the standard library: a random.py that lies beside the data
# would be imported instead of the real one, and torch would import what an entry point in the folder names.
# The user's own modules are found without it (`core/user_modules.py`), and so are those of this package.
if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]

from polytask.cli import main

main()
