"""Deprecated and unknown names: messages that say which name is right."""

import difflib
import functools
import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

REMOVED_IN = "0.3"


def warn_renamed(old: str, new: str, stacklevel: int = 2) -> None:
    """Emit a DeprecationWarning that names the replacement of a deprecated name.

    Args:
        old: the deprecated name, as the caller writes it.
        new: its replacement.
        stacklevel: as in `warnings.warn`, counted from the function that calls this one; 2 is the
            line that calls that function.
    """
    warnings.warn(
        f"`{old}` is deprecated and will be removed in {REMOVED_IN}. Use `{new}` instead.",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def renamed_argument(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that accepts a keyword argument under its old name.

    Args:
        old: the argument's old name.
        new: the name that the decorated function uses.

    Example:

    >>> @renamed_argument("stage", "head")
    ... def title(head):
    ...     return head.title()
    >>> title(stage="unary")  # emits a DeprecationWarning
    'Unary'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(
                        f"{function.__name__}() got both `{new}` and its old name `{old}`; pass "
                        f"`{new}`."
                    )
                warn_renamed(f"{old}=", f"{new}=")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        # Keras also inspects constructors without following `__wrapped__`.
        call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return call

    return decorate


def nearest_name(name: str, known: Collection[str], old: Mapping[str, str] | None = None) -> str:
    """Return the end of a message about an unknown name: the one that was probably meant, or all.

    Args:
        name: the unknown name.
        known: the right names.
        old: deprecated names, with what replaces them.

    Example:

    >>> nearest_name("mixture", ["window", "mixtures"])
    'did you mean `mixtures`?'
    """
    old = old or {}
    close = difflib.get_close_matches(name, [*known, *old], n=1)
    if not close:
        return f"expected {', '.join(known)}."
    return f"did you mean `{old.get(close[0], close[0])}`?"
