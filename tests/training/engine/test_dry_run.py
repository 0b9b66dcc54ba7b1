from training.engine.dry_run import StageCost, describe, peak_memory


def test_costs_as_text():
    costs = [StageCost("unary", 10, 500, 8, 0.25), StageCost("joint", 2, 100, 4, 90.0)]
    assert describe(costs, 1234567, ("GPU", 3 * 2**29), 2**28).splitlines() == [
        "stage  epochs  steps  batch  per step        time",
        "unary      10    500      8    0.25 s       2 min",
        "joint       2    100      4      90 s  2 h 30 min",
        "",
        "network  1,234,567 parameters",
        "memory   1.5 GiB of the GPU in a step",
        "         0.2 GiB more for the decoded training images",
        "time     about 2 h 32 min, without validation",
    ]


def test_what_is_unknown_or_done_is_left_out():
    text = describe([StageCost("unary", 1, 1, 1, 1.0)], 1, None, 0)
    assert "memory" not in text and "decoded" not in text
    assert describe([], 1, None, 0) == "nothing left to train"


def test_memory_is_that_of_the_process():
    whose, peak = peak_memory()
    assert whose in ("process", "GPU") and peak > 2**20
