"""Any folder of images and label maps: `images/`, `labels/`, `splits/` and `classes.json`."""

from pathlib import Path
from unicodedata import normalize

from keras_dpn.io import IMAGE_SUFFIXES
from keras_dpn.io.formats import is_image, list_visible

from ..dataset import Example, read_lines
from ..io.class_files import read_classes_json
from .base import FileDataset, find_file


class FolderDataset(FileDataset):
    """A directory of images and label maps.

    Args:
        data_dir: holds
            `images/`: the images, in any format; subdirectories are allowed.
            `labels/`: a label map for each, of the same name except the suffix: class indices
            (grey or palette PNG) or the classes' colours (RGB PNG), see `read_label`.
            `splits/`: `train.txt`, `val.txt`...: a file name of `images/` per line, with or without
            its suffix.
            `classes.json`: {"names": [...], "colors": [[r, g, b], ...], "ignore": 255}, and
            optionally "values", see `read_classes_json`.

    Raises:
        ValueError: if one of them is missing, `classes.json` is broken, or a name in a split
            matches two files. Missing images and label maps raise when they are read
            (`keras-dpn check-data` lists them).
    """

    name = "folder"

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        self.classes, self.label_values = read_classes_json(data_dir / "classes.json")
        lists = list_visible(data_dir / "splits", "*.txt")
        if not lists:
            raise ValueError(f"{data_dir / 'splits'}: expected train.txt, val.txt...; none there.")
        images = _Files(data_dir / "images")
        labels = _Files(data_dir / "labels")
        self.splits = {path.stem: _read_list(path, images, labels) for path in lists}


class _Files:
    """The images below a directory, found by their names with or without the suffix."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ValueError(f"{root}: no such directory; expected the dataset's {root.name}.")
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in list_visible(root, "**/*"):
            if is_image(path):
                self._by_stem.setdefault(self.stem(path), []).append(path)

    def find(self, entry: str) -> Path:
        """Return the file of that name; one that doesn't exist if there is none."""
        exact = self.root / entry
        has_suffix = exact.suffix.lower() in IMAGE_SUFFIXES
        if has_suffix:  # others would be looked for in the directory, each anew
            exact = find_file(exact)
        if exact.is_file():
            return exact
        missing = exact if has_suffix else self.root / f"{entry}.*"
        paths = self._by_stem.get(normalize("NFC", entry), [missing])
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise ValueError(f"{self.root}: {entry!r} matches {names}; keep one of them.")
        return paths[0]

    def stem(self, path: Path) -> str:
        return normalize("NFC", path.relative_to(self.root).with_suffix("").as_posix())


def _read_list(path: Path, images: _Files, labels: _Files) -> tuple[Example, ...]:
    examples: list[Example] = []
    # Lists from Windows have backslashes.
    for entry in (line.strip().replace("\\", "/") for line in read_lines(path) if line.strip()):
        if Path(entry).is_absolute() or ".." in Path(entry).parts:
            raise ValueError(f"{path}: expected file names below {images.root}, received {entry}.")
        image = images.find(entry)
        has_suffix = image.is_file() or image.suffix.lower() in IMAGE_SUFFIXES
        stem = images.stem(image) if has_suffix else entry
        examples.append(Example(stem, image, labels.find(stem), len(examples)))
    return tuple(examples)
