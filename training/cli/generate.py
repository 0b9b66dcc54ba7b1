"""Write a generated dataset as files.

    keras-dpn generate scenes --out DIR
    keras-dpn generate moving-scenes --out DIR --num-images 40

Scenes, context-scenes and houses are written in the layout of the dataset "folder", moving-scenes
in that of "clips", with exact optical flow. Training reads the generated datasets by their names,
without files; files serve as an example of the layouts, and for other programs.
"""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def main(
    dataset: Positional[Literal["scenes", "moving-scenes", "context-scenes", "houses"]],
    *,
    out: Path,
    num_images: int | None = None,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Write a generated dataset as files.

    Args:
        dataset: which one.
        out: directory to write; created if it doesn't exist.
        num_images: how many training images, by default 500, or for moving-scenes how many training
            sequences, by default 40; val and test get a quarter as many each.
        seed: which images; the same seed gives the same files.
        force: write into a directory that holds a dataset of others, and replace its files.
    """
    from ..data.generated.writers import FOLDERS, write_clips, write_dataset
    from ..data.registry import DATASETS
    from ..rundir.outputs import writing

    info = DATASETS[dataset.replace("-", "_")]
    count = num_images if num_images is not None else 40 if info.has_clips else 500
    if count < 1:
        raise ValueError(
            f"Invalid value for argument `num_images`: expected 1 or more, received {count}."
        )
    quarter = -(-count // 4)
    data = info.load_class()({"train": count, "val": quarter, "test": quarter}, seed=seed)
    with writing(out, "generate", force=force) as files:
        files.check([out / "classes.json"])
        for folder in FOLDERS:
            files.check(path for path in (out / folder).rglob("*") if not path.is_dir())
        if info.has_clips:
            write_clips(data, out, files.write_bytes)
        else:
            write_dataset(data, out, files.write_bytes)
    unit = "sequences" if info.has_clips else "images"
    print(f"{out}: {count} training, {quarter} validation and {quarter} test {unit}")
