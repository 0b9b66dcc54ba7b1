"""python -m training.export: the same as keras-dpn export."""

import runpy
import sys

sys.argv[1:1] = ["export"]
runpy.run_module(__package__.partition(".")[0], run_name="__main__")
