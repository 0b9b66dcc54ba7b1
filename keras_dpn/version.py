"""The library's version, for modules that must not import the whole library."""

__version__ = "0.2.0"
