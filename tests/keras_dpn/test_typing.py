import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.resources import files

import pytest

import keras_dpn

MODULES = [
    "keras_dpn",
    *(module.name for module in pkgutil.iter_modules(keras_dpn.__path__, "keras_dpn.")),
]


def public_values(module) -> Iterator[tuple[str, object]]:
    """Functions and classes in a module's `__all__`, or defined there where it has none."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [n for n, v in vars(module).items() if _home(v) == module.__name__]
    for name in names:
        value = getattr(module, name)
        if not name.startswith("_") and _home(value).startswith("keras_dpn"):
            yield name, value


def _home(value) -> str:
    """The module in which a function or a class is defined."""
    return getattr(value, "__module__", None) or ""


def functions(name: str, value: object) -> Iterator[tuple[str, Callable, bool]]:
    """A function, or a class's public methods with those of its bases here; whether bound."""
    if inspect.isfunction(value):
        yield name, value, False
    if not inspect.isclass(value):
        return
    for cls in value.__mro__:
        for attribute, member in vars(cls).items() if _home(cls).startswith("keras_dpn") else ():
            if attribute.startswith("_") and attribute not in ("__init__", "__call__"):
                continue
            is_static = isinstance(member, staticmethod)
            if isinstance(member, (staticmethod, classmethod)):
                member = member.__func__
            elif isinstance(member, property):
                member = member.fget
            elif isinstance(member, cached_property):
                member = member.func
            if inspect.isfunction(member):
                yield f"{cls.__name__}.{attribute}", member, not is_static


def not_annotated(function: Callable, is_bound: bool = False) -> set[str]:
    """Names of the parameters without an annotation, and "return"."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[is_bound:]
    names = {p.name for p in parameters if p.annotation is p.empty}
    return names | ({"return"} if signature.return_annotation is signature.empty else set())


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_and_methods_are_annotated(name):
    found = {
        place: missing
        for public, value in public_values(importlib.import_module(name))
        for place, function, is_bound in functions(public, value)
        if (missing := not_annotated(function, is_bound))
    }
    assert not found


def test_what_has_no_annotation_is_found():
    class Layer:
        __module__ = "keras_dpn.layers"

        def __init__(self, size, name: str = "layer"):
            self.size = size

        @property
        def area(self):
            return self.size**2

        @classmethod
        def from_config(cls, config: dict) -> "Layer":
            return cls(**config)

    found = {place: not_annotated(*rest) for place, *rest in functions("Layer", Layer)}
    expected = {"Layer.__init__": {"size", "return"}, "Layer.area": {"return"}}
    assert found == {**expected, "Layer.from_config": set()}
    assert not_annotated(lambda x, *y: x) == {"x", "y", "return"}


def test_most_public_names_are_looked_at():
    """A walk that finds nothing would pass the test above."""
    names = {n for module in MODULES for n, _ in public_values(importlib.import_module(module))}
    assert {"DPN", "LocalConv2D", "local_conv", "Segmenter", "Client", "refine"} <= names
    assert len(names) > 100


def test_type_checkers_are_told_of_the_annotations():
    assert files("keras_dpn").joinpath("py.typed").is_file()
