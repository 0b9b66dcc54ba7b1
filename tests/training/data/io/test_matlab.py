import os
import struct

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from keras_dpn.io.images import ImageError
from tests.training.data.sets.trees import mat, write_sbd
from training.data.io import matlab
from training.data.io.matlab import read_mat

LABELS = np.array([[0, 1, 2], [2, 20, 0]], "uint8")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
@pytest.mark.parametrize("version", ["4", "5"])
def test_matrices(dtype, version, tmp_path):
    savemat(tmp_path / "x.mat", {"S": LABELS.astype(dtype)}, format=version)
    found = read_mat(tmp_path / "x.mat", "S")
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, LABELS)


def test_a_structures_field(tmp_path):
    write_sbd(tmp_path / "x.mat", LABELS)
    np.testing.assert_array_equal(read_mat(tmp_path / "x.mat", "GTcls", "Segmentation"), LABELS)
    with pytest.raises(ImageError, match="x.mat: expected Labels in it, received Boundaries, Segm"):
        read_mat(tmp_path / "x.mat", "GTcls", "Labels")


def test_what_is_no_label_map(tmp_path):
    path = tmp_path / "x.mat"
    mat(
        path,
        S=LABELS / 2,
        names="sky",
        cells=np.full((2, 3), "sky", object),
        image=np.zeros((2, 3, 3)),
        sparse=csc_matrix((2, 3)),
        none=np.zeros((0, 0), [("x", object)]),
    )
    for name, message in (
        ("S", "x.mat: expected integers in S, received fractions"),
        ("T", "x.mat: expected T in it, received S, names, cells, image, sparse, none"),
        ("sparse", "x.mat: expected sparse as a full matrix, received a c(sc|oo)_"),
        ("names", "x.mat: expected names as a matrix of numbers"),
        ("image", r"received float64 of shape \(2, 3, 3\)"),
        ("cells", "received object"),
    ):
        with pytest.raises(ImageError, match=message):
            read_mat(path, name)
    with pytest.raises(ImageError, match="expected x in it, received nothing"):
        read_mat(path, "S", "x")
    with pytest.raises(ImageError, match="x.mat: expected x of none, received no structure"):
        read_mat(path, "none", "x")


def test_files_that_cant_be_read(tmp_path):
    path = tmp_path / "x.mat"
    with pytest.raises(ImageError, match="x.mat: no such file"):
        read_mat(path, "S")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF")
    with pytest.raises(ImageError, match="x.mat: a .mat file of MATLAB's version 7.3; expected"):
        read_mat(path, "S")
    mat(path, S=np.arange(10000).reshape(100, 100))
    for content in (path.read_bytes()[:-500], b"no file of MATLAB's" * 20, b""):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=r"x.mat: can't be read as a .mat file"):
            read_mat(path, "S")


@pytest.mark.parametrize("compressed", [True, False])
def test_the_size_is_limited_before_it_takes_memory(compressed, tmp_path, monkeypatch):
    path = tmp_path / "x.mat"
    for side in (64, 600):
        savemat(path, {"S": np.zeros((side, side), "uint8")}, do_compression=compressed)
        monkeypatch.setattr(matlab, "MAX_BYTES", 100_000)
        if side == 64:
            assert read_mat(path, "S").shape == (64, 64)
    assert compressed == (path.stat().st_size < 100_000)
    monkeypatch.setattr(matlab, "loadmat", lambda *_, **__: pytest.fail("is read"))
    with pytest.raises(
        ImageError, match="x.mat: can't be read as a .mat file .it has more than 0 MB"
    ):
        read_mat(path, "S")


CLAIM = "it claims more cells, fields or characters than it has bytes"
ONE, MANY = struct.pack("<4i", 5, 8, 1, 1), struct.pack("<4i", 5, 8, 2**30, 1)


@pytest.mark.parametrize(
    "values",
    [
        {"Segmentation": LABELS},
        {"Segmentation": {"nested": LABELS}},
        {"Segmentation": np.array([["ab"]], object)},
        {"name": "x"},
    ],
)
def test_more_than_the_file_can_hold(values, tmp_path, monkeypatch):
    savemat(path := tmp_path / "x.mat", {"GTcls": values})
    content = path.read_bytes()
    for count in range(1, content.count(ONE) + 1):  # the outer one, then the next alone, ...
        start = -1
        for _ in range(count):
            start = content.index(ONE, start + 1)
        path.write_bytes(content[:start] + MANY + content[start + len(MANY) :])
        with pytest.raises(ImageError, match=f"x.mat: can't be read .*{CLAIM}"):
            read_mat(path, "GTcls", "Segmentation")


def test_other_variables_are_not_loaded(tmp_path):
    savemat(path := tmp_path / "x.mat", {"names": "x", "S": LABELS})
    path.write_bytes(path.read_bytes().replace(ONE, MANY))
    np.testing.assert_array_equal(read_mat(path, "S"), LABELS)


def test_deeply_nested(tmp_path):
    """SciPy's own recursion would end the process."""
    values = LABELS
    for _ in range(400):
        cell = np.empty((1, 1), object)
        cell[0, 0] = values
        values = cell
    savemat(path := tmp_path / "x.mat", {"S": values})
    header, content = path.read_bytes()[:128], path.read_bytes()[128:]
    opening = content[: content.index(b"S") + 8]  # the tag, flags, dimensions and name
    nested = content[len(opening) : len(opening) + 48]
    path.write_bytes(header + opening + nested * 50_000)
    with pytest.raises(ImageError, match="x.mat: can't be read as a .mat file"):
        read_mat(path, "S")


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "x.mat")
    with pytest.raises(ImageError, match="x.mat: no such file"):
        read_mat(tmp_path / "x.mat", "S")


def test_every_class_of_matrix_in_a_structure(tmp_path):
    mat(
        path := tmp_path / "x.mat",
        GTcls={
            "text": "street",
            "cells": np.array([["a", 1.5], [2, "b"]], object),
            "complex": np.array([[1j]]),
            "sparse": csc_matrix(np.eye(3)),
            "empty": np.zeros((0, 0)),
            "nested": {"a": {"b": "c"}},
            "Segmentation": LABELS,
        },
    )
    np.testing.assert_array_equal(read_mat(path, "GTcls", "Segmentation"), LABELS)
