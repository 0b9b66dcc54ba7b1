"""Work in threads: reading ahead and writing behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 2  # items that are processed before their turn


def prefetch_map(
    function: Callable[[T], R], items: Iterable[T], *, workers: int = 2, depth: int = DEPTH
) -> Iterator[R]:
    """Map a function over items in threads, some items ahead of the consumer.

    Args:
        function: called in threads, for several items at once.
        items: taken one by one in the consumer's thread, at most `depth` ahead.
        workers: number of threads.
        depth: how many results may wait.

    Yields:
        The results, in the order of the items.

    Raises:
        Exception: whatever `function` raises, when its item's turn comes.

    Example:
    >>> list(prefetch_map(abs, (-1, 2, -3)))
    [1, 2, 3]
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
