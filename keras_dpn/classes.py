"""Classes of a segmentation: their names and colours, and the ignore label."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset: label `i` is `names[i]`, drawn in `colors[i]`.

    Args:
        names: one name per class, all different.
        colors: one (red, green, blue) per class, 0..255, all different, as they identify the
            classes in colour label maps.
        ignore: the label of pixels that count neither in training nor in evaluation, an integer
            from the number of classes to 255.

    Raises:
        ValueError: if names, colours and ignore label don't fit each other.

    Example:
    >>> classes = Classes(("sky", "road"), ((0, 0, 255), (90, 90, 90)))
    >>> classes.num_classes, classes.ignore
    (2, 255)
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ignore: int = 255

    def __post_init__(self) -> None:
        count = len(self.names)
        if not 1 <= count <= 255:
            raise ValueError(f"`names`: expected 1 to 255 classes, received {count}.")
        if not all(isinstance(name, str) and name for name in self.names):
            raise ValueError(f"`names`: expected non-empty strings, received {self.names}.")
        if len(set(self.names)) < count:
            raise ValueError(f"`names`: expected different names, received {self.names}.")
        if len(self.colors) != count:
            raise ValueError(
                f"`colors`: expected {count}, one for each name, received {len(self.colors)}."
            )
        for color in self.colors:
            if len(color) != 3 or not all(_is_byte(value) for value in color):
                raise ValueError(f"`colors`: expected three integers 0..255, received {color}.")
        for color in self.colors:
            if self.colors.count(color) > 1:
                pairs = zip(self.names, self.colors, strict=True)
                same = [name for name, other in pairs if other == color]
                raise ValueError(
                    f"`colors`: {' and '.join(same)} have the same colour, {color}; give each its "
                    "own."
                )
        if not _is_byte(self.ignore) or self.ignore < count:
            raise ValueError(
                f"`ignore`: expected an integer from {count} (the number of classes) to 255, "
                f"received {self.ignore!r}."
            )

    @property
    def num_classes(self) -> int:
        """The number of classes, without the ignore label."""
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        """Return the classes as a dictionary that `json` can write."""
        colors = [list(color) for color in self.colors]
        return {"names": list(self.names), "colors": colors, "ignore": self.ignore}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Classes":
        """Return the classes that `to_json` wrote; "ignore" is 255 if it is missing.

        Raises:
            ValueError: if keys are missing or unknown, or values don't fit.
        """
        keys = set(data) if isinstance(data, dict) else set()
        if not {"names", "colors"} <= keys <= {"names", "colors", "ignore"}:
            raise ValueError(
                'Expected a JSON object with "names", "colors" and optionally "ignore", '
                f"received {sorted(keys) or type(data).__name__}."
            )
        if not _is_list_of(data["names"], str) or not _is_list_of(data["colors"], list):
            raise ValueError('Expected "names" as a list of strings, "colors" of [r, g, b].')
        colors = tuple(tuple(color) for color in data["colors"])
        return cls(tuple(data["names"]), colors, data.get("ignore", 255))


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
