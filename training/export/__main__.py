"""python -m training.export: the same as keras-dpn export."""

import sys

from ..cli import main

sys.exit(main(["export", *sys.argv[1:]]))
