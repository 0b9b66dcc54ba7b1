"""The elements of .mat files of MATLAB's version 5, before SciPy takes memory for what they claim.

An element has a tag of 8 bytes, its type and length, and data, padded to 8 bytes; data of up to 4
bytes may be in the tag itself. A matrix is an element of elements: flags, dimensions, name, and its
values or, of cells and structures, matrices. See MATLAB's "MAT-File Format", chapter 1.
"""

import math
import struct
import zlib

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_CELLS, _STRUCTURES, _OBJECTS, _CHARACTERS, _SPARSE = 1, 2, 3, 4, 5  # classes of matrices
_NUMBERS = range(6, 16)
_COMPLEX = 1 << 11  # of a matrix's flags
_PIECE = 2**20


def check_variable(content: bytes, wanted: str, max_bytes: int) -> list[str]:
    """Check the size of a file when it is decompressed, and what a variable's elements claim.

    Args:
        content: the file's.
        wanted: the variable's name. The others are not checked: don't load them.
        max_bytes: the largest size.

    Returns:
        The names of all variables.

    Raises:
        ValueError: if the file is larger, or broken, or the variable claims more cells, fields or
            characters than its bytes can hold, or has an object or a function in it.
        struct.error, zlib.error, RecursionError: if it is broken.
    """
    order = "<" if content[_HEADER - 2 : _HEADER] == b"IM" else ">"
    names, size, position = [], 0, _HEADER
    while position < len(content):
        kind, length = struct.unpack_from(f"{order}II", content, position)
        element = content[position : position + 8 + length]
        if kind == _COMPRESSED:
            element = _decompress(element[8:], max_bytes - size)
        size += len(element)
        if size > max_bytes:
            raise ValueError(f"it has more than {max_bytes // 10**6} MB when it is decompressed")
        matrix = _Matrix(element, order)
        if matrix.name == wanted:
            matrix.check()
        names.append(matrix.name)
        position += 8 + length
    return names


def _decompress(data: bytes, max_bytes: int) -> bytes:
    """Return what was compressed, or a little more than N bytes of it."""
    stream, pieces, size = zlib.decompressobj(), [], 0
    while not stream.eof and size <= max_bytes:
        pieces.append(stream.decompress(data, _PIECE))
        size += len(pieces[-1])
        data = stream.unconsumed_tail
        if not (pieces[-1] or data):
            raise ValueError("it is truncated")
    return b"".join(pieces)


class _Matrix:
    """A variable: its name, and a cursor over its elements, one after another as SciPy reads them.

    Args:
        content: the element.
        order: of its bytes, as `struct` has it.
    """

    def __init__(self, content: bytes, order: str) -> None:
        self._content, self._order = content, order
        self._position = self._claimed = 0
        self._start()
        self.name = self._header()[2].decode("latin1")

    def check(self) -> None:
        """Raise an error if the elements claim more than they have bytes."""
        self._position = self._claimed = 0
        self._check_matrix()

    def _check_matrix(self) -> None:
        if not self._start():
            return
        flags, count, _ = self._header()
        kind, fields = flags & 0xFF, 1
        if kind == _OBJECTS:
            self._element()  # its class's name
        if kind in (_STRUCTURES, _OBJECTS):
            (length,) = struct.unpack(f"{self._order}i", self._element())
            if length < 1:
                raise ValueError("names of fields of no length")
            fields = len(self._element()) // length
        if kind in (_CELLS, _STRUCTURES, _OBJECTS):
            self._claim(8 * count * max(fields, 1))
            for _ in range(count * fields):
                self._check_matrix()
        elif kind == _CHARACTERS:
            self._claim(count)
            self._element()
        elif kind == _SPARSE or kind in _NUMBERS:
            elements = (3 if kind == _SPARSE else 1) + bool(flags & _COMPLEX)
            for _ in range(elements):
                self._element()
        else:
            raise ValueError("an object or a function in it")

    def _claim(self, size: int) -> None:
        self._claimed += size
        if self._claimed > len(self._content):
            raise ValueError("it claims more cells, fields or characters than it has bytes")

    def _start(self) -> bool:
        """Read a matrix's tag; return whether there is anything in it."""
        kind, length = self._unpack("II")
        if kind != _MATRIX:
            raise ValueError(f"expected a matrix, received an element of type {kind}")
        return length > 0

    def _header(self) -> tuple[int, int, bytes]:
        """Read a matrix's flags, number of entries and name; functions and the like have none."""
        _, _, flags, _ = self._unpack("IIII")
        if flags & 0xFF not in range(_CELLS, _NUMBERS.stop):
            return flags, 0, b""
        dimensions = self._element()
        shape = struct.unpack(f"{self._order}{len(dimensions) // 4}i", dimensions)
        if min(shape, default=0) < 0:
            raise ValueError(f"a matrix of shape {shape}")
        return flags, math.prod(shape), self._element()

    def _element(self) -> bytes:
        """Read an element's data."""
        kind, length = self._unpack("II")
        start = self._position
        if kind >> 16:  # small
            start, length = start - 4, kind >> 16
        else:
            self._position += length + -length % 8
        data = self._content[start : start + length]
        if len(data) < length:
            raise ValueError("it is truncated")
        return data

    def _unpack(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(self._order + form, self._content, self._position)
        self._position += struct.calcsize(self._order + form)
        return values
