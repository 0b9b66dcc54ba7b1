"""python -m training COMMAND: the same as keras-dpn COMMAND."""

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
