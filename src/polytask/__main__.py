"""`python -m polytask`."""

import os
import sys

# `python -m` puts the current folder before the standard library, where a random.py or tokenizers.py that
# lies beside the data would be imported instead of the real one.
if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    sys.path.append(sys.path.pop(0))

from polytask.cli import main

main()
