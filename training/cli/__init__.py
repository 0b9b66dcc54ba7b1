"""How every script starts: tyro reads its arguments, mistakes become one line and exit code 2."""

import sys
from collections.abc import Callable, Sequence

import tyro


def run(function: Callable, args: Sequence[str] | None = None) -> None:
    """Call a script's `main` with its command line and leave the process with an exit code.

    `main` returns None or an exit code. ValueError and OSError are the user's to mend: their text
    is printed without a traceback, exit code 2.
    """
    sys.exit(guarded(lambda: tyro.cli(function, args=args)))


def guarded(function: Callable[[], int | None]) -> int:
    """Run `function`; return its exit code, 2 after a mistake, 130 after Ctrl-C."""
    try:
        return function() or 0
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
