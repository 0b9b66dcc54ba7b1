"""Start of the command `keras-dpn`, in the repository and in an installed package.

The package of the commands is called `training` in the repository and `keras_dpn_training` where
keras_dpn is installed, so that no directory of the user's of the name `training` takes its place.
"""

import importlib
import sys
from importlib.util import find_spec


def main() -> int:
    """Run the command line; return the exit code."""
    package = "keras_dpn_training" if find_spec("keras_dpn_training") else "training"
    return importlib.import_module(f"{package}.cli").main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
