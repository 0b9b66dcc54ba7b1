"""Heads: the named outputs of a network; traits of any network."""

from dataclasses import dataclass

# Titles of the heads that several networks have; the title of any other head is its name.
_TITLES = {
    "unary": "unary term",
    "triple": "triple penalty",
    "contexts": "label contexts",
    "multiscale": "multi-scale branches",
    "field": "mean field",
    "final": "final prediction",
}


@dataclass(frozen=True)
class Head:
    """A named output of a network: logits after one of its parts.

    Attributes:
        name: as `head_model` takes it and files hold it, such as "triple".
        title: for readers, such as "triple penalty".
    """

    name: str
    title: str


@dataclass(frozen=True)
class ModelTraits:
    """Properties that depend on the type of a network: its heads and its inputs.

    Attributes:
        heads: named outputs in order, the last of them the network's output; empty for a model
            with a single output.
        clip_frames: how many frames a network for clips spans; None for images.
        needs_flow: whether it takes the optical flow between the frames.
    """

    heads: tuple[Head, ...] = ()
    clip_frames: int | None = None
    needs_flow: bool = False

    @property
    def head_names(self) -> tuple[str, ...]:
        """The names of the heads."""
        return tuple(head.name for head in self.heads)


def head_of(name: str) -> Head:
    """Return the head with a name, which may come from a file.

    Example:

    >>> head_of("triple")
    Head(name='triple', title='triple penalty')
    >>> head_of("above").title
    'above'
    """
    return Head(name, _TITLES.get(name, name))
