import zipfile

import fsspec
import pytest

from keras_dpn.io.images import ImageError
from keras_dpn.io.video import VideoError
from training.prediction.remote import RemoteFile, list_remote, local_file, local_or_remote
from training.prediction.sources import find_sources


@pytest.fixture
def bucket():
    """A folder in memory."""
    system = fsspec.filesystem("memory")
    for name in ("a.png", "deep/b.jpg", "deep/c.txt", "d.mp4"):
        system.pipe_file(f"/bucket/{name}", name.encode())
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


def names(url):
    return [str(file) for file in list_remote(url)]


def test_files_folders_and_patterns_are_listed(bucket):
    assert names(f"{bucket}/a.png") == ["memory:///bucket/a.png"]
    assert names(f"{bucket}/deep") == ["memory:///bucket/deep/b.jpg", "memory:///bucket/deep/c.txt"]
    assert names(f"{bucket}/**/*.jpg") == ["memory:///bucket/deep/b.jpg"]
    assert names(f"{bucket}/none") == []


def test_images_and_videos_are_named_below_their_folder(bucket, tmp_path):
    sources = find_sources([bucket], tmp_path)
    assert {name: str(file) for name, file in sources.images.items()} == {
        "a": "memory:///bucket/a.png",
        "deep/b": "memory:///bucket/deep/b.jpg",
    }
    assert list(sources.videos) == ["d"]
    with pytest.raises(ValueError, match=r"memory://bucket/none: no image or video matches"):
        find_sources(["memory://bucket/none"], tmp_path)


def test_other_files_are_named_and_hidden_ones_passed_over(tmp_path, messages):
    """As in archives that macOS makes."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a/b.png", "a/b.txt", "a/._b.png", "a/.DS_Store", "__MACOSX/a/._b.png"):
            archive.writestr(name, "")
    assert list(find_sources([f"zip://::{tmp_path}/a.zip"], tmp_path).images) == ["b"]
    assert messages().count("skipped") == messages().count("b.txt") == 1
    found = find_sources([f"zip://a/b.txt::{tmp_path}/a.zip"], tmp_path)
    assert list(found.images) == ["b"], "a file that is named is tried, whatever its suffix"


def test_the_path_of_an_archive_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(local_or_remote("zip://a.png::b.zip")) == f"zip://a.png::{tmp_path}/b.zip"


def test_content_is_read_and_copied(bucket):
    content = list_remote(f"{bucket}/a.png")[0].open()
    assert content.read() == b"a.png" and str(content) == "memory:///bucket/a.png"
    with local_file(RemoteFile(f"{bucket}/d.mp4")) as copy:
        assert copy.name == "d.mp4" and copy.read_bytes() == b"d.mp4"
    assert not copy.exists()


def test_a_missing_file_is_named(bucket):
    with pytest.raises(ImageError, match=r"memory://bucket/x.png: can't be read"):
        RemoteFile(f"{bucket}/x.png").open()
    with (
        pytest.raises(VideoError, match=r"memory://bucket/x.mp4: can't be read"),
        local_file(RemoteFile(f"{bucket}/x.mp4")),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nothing://x", "can't be listed"),
        ("zip://*::/none.zip", "can't be listed"),
        ("reference://a.png::memory://refs.json", "reference:// isn't read"),
        ("reference::memory://refs.json", "reference:// isn't read"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(url, message):
    with pytest.raises(ValueError, match=message):
        list_remote(url)


def test_a_file_system_that_is_not_installed_is_named(monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(ValueError, match="needs another package .Install s3fs"):
        list_remote("s3://bucket")
