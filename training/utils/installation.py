"""How to install what a command needs."""


def install_command(extras: str) -> str:
    """Return the command that installs extras of the package, from its source or its wheel.

    Args:
        extras: separated by commas.

    Example:
    >>> install_command("train,cpu")
    "pip install '.[train,cpu]' in the directory of the source code, or 'WHEEL[train,cpu]'"
    """
    return f"pip install '.[{extras}]' in the directory of the source code, or 'WHEEL[{extras}]'"
