"""python -m training.predict: the same as keras-dpn predict."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
