import pickle
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from training.utils import ray_cluster
from training.utils.ray_cluster import ClusterOptions, ClusterPool, connect, number_of_workers


def cluster(*nodes):
    """Return the part of Ray that says what its nodes have."""
    return SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes])


def test_without_ray_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ValueError, match=r"--ray needs Ray: pip install '\.\[ray\]'"),
        connect(ClusterOptions("local")),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 5), ({"workers": 2}, 2), ({"cpus": 2}, 2), ({"gpus": 1}, 2), ({"cpus": 3, "gpus": 2}, 1)],
)
def test_workers_fill_the_nodes(options, expected):
    nodes = cluster({"CPU": 3.0, "GPU": 2.0}, {"CPU": 2.5}, {"memory": 1.0})
    assert number_of_workers(ClusterOptions("auto", **options), nodes) == expected


def test_workers_that_would_wait_for_ever_are_refused():
    """Two processors are free, but none of the nodes has both."""
    nodes = cluster({"CPU": 1.0}, {"CPU": 1.0})
    with pytest.raises(ValueError, match="2 processors and 0 GPUs don't fit .* 0 on 2 nodes"):
        number_of_workers(ClusterOptions("auto", cpus=2), nodes)
    with pytest.raises(ValueError, match="--workers: 3 of 1 processors .* holds 2 on 2"):
        number_of_workers(ClusterOptions("auto", workers=3), nodes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "--workers: expected 1 or more, received 0"),
        ({"cpus": 0}, "--worker-cpus: expected 1"),
        ({"gpus": -1}, "--worker-gpus: expected 0"),
    ],
)
def test_wrong_numbers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ClusterOptions("local", **options)


@pytest.fixture
def mapped(monkeypatch):
    """Make a function that maps `abs` over numbers, with processes that die of some of them."""
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(
        ray_cluster, "connect", lambda _: nullcontext(SimpleNamespace(cloudpickle=pickle))
    )
    monkeypatch.setattr(ray_cluster, "number_of_workers", lambda *_: 2)

    def run(numbers, deadly, times):
        """Return the results and the sizes of the blocks; each deadly number kills N times."""
        left, sizes = dict.fromkeys(deadly, times), []

        def run_blocks(ray, options, workers, worker, arguments, blocks):
            mapper = worker(*arguments)
            for block in reversed(blocks):  # in any order
                sizes.append(len(block))
                died = [n for _, n in map(pickle.loads, block) if left.get(n)]
                if died:
                    left[died[0]] -= 1
                else:
                    yield from mapper({"item": block})["row"].to_pylist()

        monkeypatch.setattr(ray_cluster, "run_blocks", run_blocks)
        with ClusterPool(ClusterOptions("local")) as pool:
            return list(pool.map(abs, numbers)), sizes

    return run


def test_results_are_in_order_also_where_a_process_died(mapped):
    assert mapped([], (), 0) == ([], [])
    numbers = list(range(-20, 0))
    results, sizes = mapped(numbers, deadly=[-20, -7], times=1)
    assert results == list(map(abs, numbers))
    assert sizes == [5] * 4 + [1] * 10, "two blocks again, one by one"


def test_an_item_that_kills_its_process_twice_is_named(mapped):
    with pytest.raises(OSError, match=r"died twice, .* with -7 \(and 0 others\)"):
        mapped(list(range(-20, 0)), deadly=[-7], times=2)
