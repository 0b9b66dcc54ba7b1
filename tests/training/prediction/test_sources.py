import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from training.prediction.sources import find_sources


def save(path, size=(10, 8), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


def find_images(paths, out):
    return find_sources(paths, out).images


def test_find_images_takes_files_folders_and_patterns(tmp_path):
    for name in ("a/one.png", "a/deep/two.JPG", "b/three.png", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    paths = [tmp_path / "a", tmp_path / "b/*.png", tmp_path / "b/three.png"]
    found = find_images(paths, tmp_path / "out")
    assert found == {
        "a/deep/two": tmp_path / "a/deep/two.JPG",
        "a/one": tmp_path / "a/one.png",
        "b/three": tmp_path / "b/three.png",
    }
    assert list(find_images([tmp_path / "**/t*.png"], tmp_path / "out")) == ["three"]
    named = find_images([tmp_path / "b/notes.txt"], tmp_path / "out")
    assert list(named) == ["notes"], "a file that is named is tried, whatever its suffix"


def test_hidden_files_are_passed_over_unless_named(tmp_path):
    path = save(tmp_path / ".photos/a.png")
    hidden = touch(tmp_path / ".photos/._a.png")
    touch(tmp_path / ".photos/.ipynb_checkpoints/a-checkpoint.png")
    assert find_images([tmp_path / ".photos"], tmp_path / "out") == {"a": path}
    assert find_images([hidden], tmp_path / "out") == {"._a": hidden}


def test_find_images_keeps_equal_stems_apart(tmp_path):
    for name in ("a/x.png", "b/x.png"):
        save(tmp_path / name)
    files = [tmp_path / "a/x.png", tmp_path / "b/x.png"]
    assert list(find_images(files, tmp_path / "out")) == ["a/x", "b/x"]
    save(tmp_path / "a/x.jpg")
    save(tmp_path / "a/y.png")
    names = list(find_images([tmp_path / "a"], tmp_path / "out"))
    assert names == ["x.jpg", "x.png", "y"], "y keeps the name that it had without x.jpg"
    save(tmp_path / "a/x.png.jpg")
    names = list(find_images([tmp_path / "a"], tmp_path / "out"))
    assert names == ["x.jpg", "x.png", "x.png.jpg", "y"]


def test_folders_with_brackets_are_no_patterns(tmp_path):
    path = save(tmp_path / "photos [2023]/a.png")
    assert find_images([tmp_path / "photos [2023]/*.png"], tmp_path / "out") == {"a": path}


def test_find_images_leaves_out_earlier_results(tmp_path):
    save(tmp_path / "x.png")
    save(tmp_path / "labels/x.png")
    save(tmp_path / "holiday/labels/y.png")
    assert list(find_images([tmp_path], tmp_path)) == ["holiday/labels/y", "x"]


def test_find_images_refuses_to_overwrite_an_image(tmp_path):
    path = save(tmp_path / "labels/x.png")
    with pytest.raises(ValueError, match="x.png: the result would overwrite it"):
        find_images([path], tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.png", "missing.png: no such file or directory"),
        ("empty", "empty: no image or video matches"),
        ("*.tiff", "no image or video matches"),
    ],
)
def test_find_images_names_what_is_not_there(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        find_images([tmp_path / name], tmp_path / "out")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_find_sources_tells_videos_from_images(tmp_path):
    image, video = save(tmp_path / "in/a.png"), touch(tmp_path / "in/a.MP4")
    deep = touch(tmp_path / "in/deep/b.webm")
    touch(tmp_path / "in/videos/a.mp4")
    touch(tmp_path / "out/videos/a.mp4")
    sources = find_sources([tmp_path / "in"], tmp_path / "out")
    assert sources.images == {"a": image}
    assert len(sources) == 4
    assert sources.videos == {"a": video, "deep/b": deep, "videos/a": tmp_path / "in/videos/a.mp4"}
    assert list(find_sources([tmp_path / "**/*.webm"], tmp_path).videos) == ["b"]
    assert list(find_sources([tmp_path], tmp_path / "in").videos) == [
        "in/a",
        "in/deep/b",
        "out/videos/a",
    ]


def test_a_folder_can_be_a_video(tmp_path):
    save(tmp_path / "shots.v1/1.png")
    image, video = save(tmp_path / "a.png"), touch(tmp_path / "b.mp4")
    paths = [tmp_path / "shots.v1", image, video]
    sources = find_sources(paths, tmp_path / "out", image_sequence=True)
    assert sources.images == {"a": image}
    assert sources.videos == {"shots.v1": tmp_path / "shots.v1", "b": video}
    with pytest.raises(ValueError, match="--image-sequence: expected a folder"):
        find_sources([video], tmp_path / "out", image_sequence=True)


@pytest.mark.parametrize("name", ["videos/x.mp4", "overlays/x.mp4"])
def test_a_video_is_not_overwritten(tmp_path, name):
    with pytest.raises(ValueError, match="x.mp4: the result would overwrite it"):
        find_sources([touch(tmp_path / name)], tmp_path)
    save(tmp_path / "labels/x/000000.png")
    with pytest.raises(ValueError, match="labels/x: the result would overwrite it"):
        find_sources([tmp_path / "labels/x"], tmp_path, image_sequence=True)


def test_results_of_version_0_1_are_left_out(tmp_path):
    """It wrote the labels of each head to stages/."""
    save(tmp_path / "x.png")
    save(tmp_path / "stages/x.png")
    assert list(find_images([tmp_path], tmp_path)) == ["x"]


def test_nothing_is_no_source(tmp_path):
    with pytest.raises(ValueError, match="No image or video given"):
        find_sources([], tmp_path)


def test_a_result_does_not_overwrite_another_source(tmp_path):
    first, second = save(tmp_path / "b/a.jpg"), save(tmp_path / "b/labels/a.png")
    message = f"{second}: the result of {first} would overwrite it. Name another --out"
    with pytest.raises(ValueError, match=re.escape(message)):
        find_sources([first, second], tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with pytest.raises(ValueError, match="would overwrite it"):
        find_sources([first, second], tmp_path / "link")
    video = touch(tmp_path / "c/a.mp4")
    with pytest.raises(ValueError, match="would overwrite it"):
        find_sources([video, touch(tmp_path / "c/videos/a.mp4")], tmp_path / "c")


def test_files_of_two_archives_with_one_name_are_refused(tmp_path):
    """One of them would be left out without a word."""
    for name in ("one", "two"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("a.png", b"")
            archive.writestr(f"{name}.png", b"")
    urls = [f"zip://*.png::{tmp_path}/{name}.zip" for name in ("one", "two")]
    message = r"zip://a.png::.*one.zip and zip://a.png::.*two.zip: .* be named a\.png\. Predict"
    with pytest.raises(ValueError, match=message):
        find_sources(urls, tmp_path)
    assert list(find_sources(urls[:1], tmp_path).images) == ["a", "one"]


def zip_of(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return f"zip://::{path}"


def test_no_result_leaves_the_directory(tmp_path):
    """An archive's files may have any name."""
    url = zip_of(tmp_path / "a.zip", "a.png", "../../b.png")
    with pytest.raises(ValueError, match=r"b.png::.*: expected a name without '..'"):
        find_sources([url], tmp_path / "out")
    with pytest.raises(ValueError, match=r"png::.*: expected names of at most 250 bytes"):
        find_sources([zip_of(tmp_path / "b.zip", f"{'é' * 124}.png")], tmp_path / "out")
    listed = tmp_path / "list.jsonl"
    listed.write_text(json.dumps({"path": "s3://bucket/x/../../b.png"}))
    with pytest.raises(ValueError, match=r"b.png: expected a name without '..'"):
        find_sources([listed], tmp_path / "out")
