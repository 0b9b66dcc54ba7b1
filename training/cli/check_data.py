"""Read a whole dataset and report every issue at once.

    keras-dpn check-data camvid --data-dir DIR

Prints the issues, how often each class occurs and where pixels are ignored; the exit code is 2 if
there is an issue that training can't ignore. Of clips it also reads the frames without labels.
"""

from pathlib import Path

from tyro.conf import Positional

from ..configs.datasets import DatasetName


def main(
    dataset: Positional[DatasetName],
    data_dir: Path | None = None,
    workers: int | None = None,
    ray: str | None = None,
) -> None:
    """Read a whole dataset and report every issue at once.

    Args:
        dataset: name of the dataset, or of its layout.
        data_dir: directory of the dataset; generated ones need none.
        workers: threads that read files; by default one per processor.
        ray: read in `--workers` processes of a Ray cluster instead: "local" starts a cluster on
            this machine, "auto" is the one that this machine belongs to; or HOST:PORT.
    """
    from ..data.checks import scan_dataset, scan_sequences
    from ..data.clips.base import RecordedClips
    from ..data.registry import load_dataset
    from ..data.scan_tables import class_table, ignored_table, issue_table
    from ..utils.console import console
    from ..utils.ray_cluster import ClusterOptions

    data = load_dataset(dataset, data_dir)
    cluster = None if ray is None else ClusterOptions(ray, workers)
    scan = scan_dataset(data, workers=workers, cluster=cluster)
    issues = scan.issues
    if isinstance(data, RecordedClips):
        issues = scan_sequences(data, workers=workers) + issues
    output = console()
    output.print(class_table(data, scan))
    if ignored := ignored_table(scan):
        output.print(ignored)
    if issues:
        output.print(issue_table(issues))
    errors = [issue for issue in issues if not issue.is_warning]
    if errors:
        source = data_dir or dataset
        raise ValueError(f"{source}: issues found: {len(errors)}; fix them before training.")
    output.print("No issues that prevent training." if issues else "No issues.")
