"""python -m training.evaluate: the same as keras-dpn evaluate."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
