"""The classes of a dataset of files, and the numbers that stand for them in its label maps."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_dpn.classes import Classes

from ..dataset import read_file, read_lines

IGNORE = 255


class LabelledClasses(NamedTuple):
    """Classes, and what the numbers in label maps mean.

    Attributes:
        classes: the classes; their ignore label is that of `values` too.
        values: the label of each number in grey label maps; None: the numbers are the labels.
    """

    classes: Classes
    values: Mapping[int, int] | None = None


def read_classes_json(path: Path) -> LabelledClasses:
    """Read `classes.json`: names, colours, and optionally the ignored number and all numbers.

    * `"ignore"`: the ignored number, 255 if not given. If it is less than the number of classes,
      such as ADE20K's 0, the classes have the other numbers in their order.
    * `"values"`: the class of each number, `{"0": "road", "255": "car", "7": null}`, by its name or
      its index; null is ignored. Then no other numbers are allowed but the ignored one.

    Raises:
        ValueError: naming the file, if it is missing or doesn't contain that.
    """
    try:
        return _from_json(json.loads(read_file(path)))
    except FileNotFoundError:
        raise ValueError(
            f'{path}: no such file; expected {{"names": [...], "colors": [[r, g, b], ...], '
            '"ignore": 255}.'
        ) from None
    except (ValueError, RecursionError) as error:  # JSON's and Unicode's are ValueErrors too
        raise ValueError(f"{path}: {error}") from error


def read_labelmap(path: Path) -> Classes:
    """Read `labelmap.txt` of CVAT and Datumaro: a line `name:r,g,b:parts:actions` per class.

    Raises:
        ValueError: naming the file and the line.
    """
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.partition(":")
        rows.append(_row(path, number, name, rest.partition(":")[0].split(",")))
    return _classes(path, rows)


def read_class_dict(path: Path) -> Classes:
    """Read `class_dict.csv` as on Kaggle: a row `name,r,g,b` per class after the header, if any.

    Semicolons or tabs may separate them, as spreadsheets write.

    Raises:
        ValueError: naming the file and the line.
    """
    lines = [line for line in read_lines(path) if line.strip()]
    separator = max(",;\t", key=lines[0].count) if lines else ","
    listed = [*enumerate(csv.reader(lines, delimiter=separator), start=1)]
    if listed and not all(text.strip().isdecimal() for text in listed[0][1][1:4]):
        del listed[0]  # the header
    return _classes(path, [_row(path, number, row[0], row[1:4]) for number, row in listed])


def read_roboflow_classes(path: Path, colors: tuple[tuple[int, int, int], ...]) -> LabelledClasses:
    """Read Roboflow's `_classes.csv`: a row `number, name` per class after the header.

    Args:
        path: the file.
        colors: of the classes, at least as many as there are.

    Raises:
        ValueError: naming the file and the line.
    """
    names: list[str] = []
    values: dict[int, int] = {}
    lines = [line for line in read_lines(path) if line.strip()]
    for number, row in enumerate(csv.reader(lines), start=1):
        if number == 1:
            continue
        if len(row) != 2 or not row[0].strip().isdecimal():
            raise ValueError(
                f"{path}, line {number}: expected a number and a name, received {row}."
            )
        values[int(row[0])] = len(names)
        names.append(row[1].strip())
    try:
        return LabelledClasses(Classes(tuple(names), colors[: len(names)]), values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _row(path: Path, number: int, name: str, numbers: list[str]) -> tuple[str, tuple[int, ...]]:
    if len(numbers) != 3 or not all(text.strip().isdecimal() for text in numbers) or not name:
        raise ValueError(
            f"{path}, line {number}: expected a class's name and red, green, blue, received "
            f"{name!r} and {','.join(numbers)!r}."
        )
    return name.strip(), tuple(int(text) for text in numbers)


def _classes(path: Path, rows: list[tuple[str, tuple[int, ...]]]) -> Classes:
    names, colors = tuple(name for name, _ in rows), tuple(color for _, color in rows)
    try:
        return Classes(names, colors)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _from_json(data: Any) -> LabelledClasses:
    if not isinstance(data, dict):
        return LabelledClasses(Classes.from_json(data))
    data = dict(data)
    stated, ignored = data.pop("values", None), data.get("ignore", IGNORE)
    count = len(data["names"]) if isinstance(data.get("names"), list) else 0
    is_number = isinstance(ignored, int) and not isinstance(ignored, bool)
    if is_number and (0 <= ignored < count or (stated is not None and ignored > IGNORE)):
        data["ignore"] = IGNORE
    classes = Classes.from_json(data)
    if stated is not None:
        values = {ignored: classes.ignore} | _read_values(stated, classes)
        _check_values(values, classes)
        return LabelledClasses(classes, values)
    if ignored < count:
        others = [value for value in range(count + 1) if value != ignored]
        values = {value: label for label, value in enumerate(others)} | {ignored: classes.ignore}
        return LabelledClasses(classes, values)
    return LabelledClasses(classes)


def _read_values(stated: Any, classes: Classes) -> dict[int, int]:
    expected = '`values`: expected a class, by name or index, or null for each number, such as {"0"'
    if not isinstance(stated, dict):
        raise ValueError(f'{expected}: "{classes.names[0]}"}}, received {stated!r}.')
    values = {}
    for key, item in stated.items():
        is_index = isinstance(item, int) and not isinstance(item, bool)
        if not re.fullmatch("[0-9]{1,5}", key) or int(key) > 65535:
            raise ValueError(f"`values`: expected numbers 0..65535, received {key!r}.")
        if item is None or (is_index and item == classes.ignore):
            values[int(key)] = classes.ignore
        elif item in classes.names:
            values[int(key)] = classes.names.index(item)
        elif is_index and 0 <= item < classes.num_classes:
            values[int(key)] = item
        else:
            names = ", ".join(classes.names)
            raise ValueError(f"`values`: {key} is {item!r}; expected one of {names}, or null.")
    return values


def _check_values(values: Mapping[int, int], classes: Classes) -> None:
    """Refuse classes that no number stands for, and greys that are another class's colour."""
    for label, name in enumerate(classes.names):
        if label not in values.values():
            raise ValueError(f"`values`: no number is {name!r}; give each class one.")
    labels_by_color = {color: label for label, color in enumerate(classes.colors)}
    for value, label in values.items():
        of_color = labels_by_color.get((value, value, value), label)
        if of_color != label and label != classes.ignore:
            raise ValueError(
                f"`values`: {value} and the colour {[value] * 3} of {classes.names[of_color]!r} "
                "contradict each other in label maps in RGB; change the colour."
            )
