"""python -m training.demo: the same as keras-dpn demo."""

import sys

from ..cli import main

sys.exit(main(["demo", *sys.argv[1:]]))
