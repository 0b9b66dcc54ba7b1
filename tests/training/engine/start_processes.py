"""Start the command `train` in several processes that share one import of Keras and TensorFlow.

Reads lines of JSON from stdin: the processes to start at once, each with its arguments, the file of
its output, its environment, and what befalls it. Writes a line with their exit codes when all have
ended. A process that is left after `LIMIT` seconds is killed, and has the code None.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

LIMIT = 240


def befall(fate):
    """Let this process be killed, or fail, when it has written its n-th checkpoint."""
    from training.engine.checkpoints import Checkpoints

    save, calls = Checkpoints.save, []

    def faulty(self, *args):
        save(self, *args)
        calls.append(1)
        if len(calls) == fate["checkpoint"]:
            if fate["kind"] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(28, "No space left on device", "/somewhere")

    Checkpoints.save = faulty


def run(args, output, environment, fate):
    """Run the command in a forked process; return its exit code."""
    from tests.training.engine.test_trainer import SmallAdapter, SmallConfig
    from training import cli
    from training.configs.networks import NETWORKS
    from training.engine.networks import ADAPTERS

    with open(output, "w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    NETWORKS["SmallNetwork"] = SmallConfig
    ADAPTERS["SmallNetwork"] = SmallAdapter()
    os.environ.update(environment)
    if fate:
        befall(fate)
    return cli.main(["train", *args])


def wait(processes):
    """Return the exit codes of processes, negative for a signal."""
    codes, deadline = {}, time.monotonic() + LIMIT
    while len(codes) < len(processes) and time.monotonic() < deadline:
        for process in set(processes) - set(codes):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                codes[process] = os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    for process in set(processes) - set(codes):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return [codes.get(process) for process in processes]


def main():
    """Import what the processes share, and start those that are asked for."""
    sys.path.insert(0, str(Path(__file__).parents[3]))
    import tests.training.engine.test_trainer  # noqa: F401
    import training.engine.jax_devices
    import training.engine.setup  # noqa: F401

    for line in sys.stdin:
        processes = []
        for job in json.loads(line):
            process = os.fork()
            if not process:
                code = run(**job)
                sys.stdout.flush()
                sys.exit(code)
            processes.append(process)
        print(json.dumps(wait(processes)), flush=True)


if __name__ == "__main__":
    main()
