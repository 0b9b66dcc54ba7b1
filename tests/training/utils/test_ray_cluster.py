import sys
from types import SimpleNamespace

import pytest

from training.utils.ray_cluster import ClusterOptions, connect, number_of_workers


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
