"""Call a function for the items of a stream, several at a time, with the results in order."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_parallel(function: Callable[[Any], T], items: Iterable[Any], parallel: int) -> Iterator[T]:
    """Yield a function's result for each item, in order.

    A result comes when the next item is read, or earlier if twice as many as `parallel` wait. An
    exception of `items` is raised after the results of the items before it.

    Args:
        function: called in threads.
        items: read by the caller's thread.
        parallel: how many calls run at a time.
    """
    failures: list[Exception] = []
    waiting: collections.deque[Future[T]] = collections.deque()
    with ThreadPoolExecutor(parallel) as executor:
        try:
            for item in _until_failure(items, failures):
                waiting.append(executor.submit(function, item))
                # Twice as many as run, so that a slow one doesn't leave the others idle.
                while waiting and (waiting[0].done() or len(waiting) >= 2 * parallel):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # also if the caller stops early
            executor.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise failures[0]


def _until_failure(items: Iterable[T], failures: list[Exception]) -> Iterator[T]:
    """Yield the items; append an exception of theirs to `failures` instead of raising it."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)
