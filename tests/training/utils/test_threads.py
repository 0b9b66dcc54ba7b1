import threading

import pytest

from training.utils.threads import prefetch_map


def test_items_are_worked_on_before_their_turn_but_not_all_at_once():
    taken, threads = [], set()

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    def work(item):
        threads.add(threading.current_thread())
        return -item

    results = prefetch_map(work, items(), depth=3)
    assert [next(results) for _ in range(10)] == [-i for i in range(10)]
    assert taken == list(range(13))
    assert list(results) == [-i for i in range(10, 100)]
    assert threading.current_thread() not in threads


def test_an_exception_comes_in_its_turn():
    results = prefetch_map(lambda x: 1 / x, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
