"""Any folder of pictures and label maps: `images/`, `labels/`, `splits/` and `classes.json`."""

import json
from pathlib import Path

from keras_dpn.classes import Classes

from ..dataset import Example, read_lines
from .base import FileDataset

# Files of other kinds beside the pictures (notes, thumbnails' data bases) are passed over.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class FolderDataset(FileDataset):
    """A directory of photographs and label maps.

    Args:
        data_dir: holds
            `images/`: the pictures, in any format; subdirectories are allowed.
            `labels/`: a label map for each, of the same name but for the suffix: class indices
            (grey or palette PNG) or the classes' colours (RGB PNG), see `read_label`.
            `splits/`: `train.txt`, `val.txt`...: a file name of `images/` on each line, with or
            without its suffix.
            `classes.json`: {"names": [...], "colors": [[r, g, b], ...], "ignore": 255}.

    Raises:
        ValueError: where one of them is missing, `classes.json` is broken, or a name in a split
            fits two files. Files that are missing show when they are read (`check_data`).
    """

    name = "folder"

    def __init__(self, data_dir: Path):
        data_dir = Path(data_dir)
        self.classes = read_classes(data_dir / "classes.json")
        lists = sorted((data_dir / "splits").glob("*.txt"))
        if not lists:
            raise ValueError(f"{data_dir / 'splits'}: expected train.txt, val.txt...; none there.")
        images = _Files(data_dir / "images")
        labels = _Files(data_dir / "labels")
        self.splits = {path.stem: _read_list(path, images, labels) for path in lists}


def read_classes(path: Path) -> Classes:
    """Reads `classes.json`.

    Raises:
        ValueError: naming the file, where it is missing or does not hold `Classes`.
    """
    try:
        return Classes.from_json(json.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise ValueError(
            f'{path}: no such file; expected {{"names": [...], "colors": [[r, g, b], ...], '
            '"ignore": 255}.'
        ) from None
    except ValueError as error:  # JSON's and Unicode's errors are ValueErrors too
        raise ValueError(f"{path}: {error}") from error


class _Files:
    """The pictures below a directory, found by their names with or without the suffix."""

    def __init__(self, root: Path):
        if not root.is_dir():
            raise ValueError(f"{root}: no such directory; expected the data set's {root.name}.")
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                self._by_stem.setdefault(self.stem(path), []).append(path)

    def find(self, entry: str) -> Path:
        """The file of that name; one that does not exist where there is none."""
        exact = self.root / entry
        has_suffix = exact.suffix.lower() in SUFFIXES
        if has_suffix and exact.is_file():
            return exact
        missing = exact if has_suffix else self.root / f"{entry}.*"
        paths = self._by_stem.get(entry, [missing])
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise ValueError(f"{self.root}: {entry!r} fits {names}; keep one of them.")
        return paths[0]

    def stem(self, path: Path) -> str:
        return path.relative_to(self.root).with_suffix("").as_posix()


def _read_list(path: Path, images: _Files, labels: _Files) -> tuple[Example, ...]:
    examples = []
    for entry in (line.strip() for line in read_lines(path) if line.strip()):
        if Path(entry).is_absolute() or ".." in Path(entry).parts:
            raise ValueError(f"{path}: expected file names below {images.root}, received {entry}.")
        image = images.find(entry)
        stem = images.stem(image) if image.suffix.lower() in SUFFIXES else entry
        examples.append(Example(stem, image, labels.find(stem), len(examples)))
    return tuple(examples)
