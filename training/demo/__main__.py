"""python -m training.demo: the same as keras-dpn demo."""

import runpy
import sys

sys.argv[1:1] = ["demo"]
runpy.run_module(__package__.partition(".")[0], run_name="__main__")
