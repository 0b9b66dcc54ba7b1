import cv2
import numpy as np
import pytest
from PIL import Image

from keras_dpn import io
from keras_dpn.io import video, video_writer
from keras_dpn.io.video import ImageSequence, VideoError, VideoReader, VideoWriter

COUNT = 12


def numbered(index, size=(32, 48)):
    """A smooth frame whose left half tells its index."""
    frame = np.full((*size, 3), (200, 90, 40), "uint8")
    frame[:, : size[1] // 2] = 20 * index
    return frame


def index_of(frame):
    return round(frame[:, : frame.shape[1] // 2 - 2].mean() / 20)


def write_film(path, codec="MJPG", fps=12.5, count=COUNT, size=(32, 48)):
    fourcc = cv2.VideoWriter_fourcc(*codec)
    film = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, size[::-1])
    for index in range(count):
        film.write(numbered(index, size)[..., ::-1])
    film.release()
    return path


def spoil(path, index):
    """Zeroes the bytes of one frame."""
    packets = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    packets.set(cv2.CAP_PROP_FORMAT, -1)  # encoded frames as they are
    content = path.read_bytes()
    for _ in range(index + 1):
        packet = packets.read()[1].tobytes()
    assert content.count(packet) == 1
    path.write_bytes(content.replace(packet, bytes(len(packet))))
    return path


def cut(path, index):
    """Cuts a file off where a frame starts."""
    packets = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    packets.set(cv2.CAP_PROP_FORMAT, -1)
    content = path.read_bytes()
    for _ in range(index + 1):
        packet = packets.read()[1].tobytes()
    path.write_bytes(content[: content.index(packet)])
    return path


def write_own(path, frames, fps=25):
    with VideoWriter(path, fps, frames[0].shape[:2]) as film:
        for frame in frames:
            film.write(frame)
    return path


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "new/film.mp4"
    reader = VideoReader(write_own(path, [numbered(i) for i in range(COUNT)], fps=29.97))
    assert (reader.size, reader.frame_count, reader.fps_known) == ((32, 48), COUNT, True)
    assert reader.fps == pytest.approx(29.97)
    for _ in range(2):  # any number of times
        frames = list(reader)
        assert [index_of(frame) for frame in frames] == list(range(COUNT))
    assert frames[3].dtype == np.uint8
    np.testing.assert_allclose(frames[3][16, 40], (200, 90, 40), atol=12)  # RGB, not BGR
    assert (reader.index, reader.broken, reader.truncated) == (COUNT - 1, [], False)
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (2, 640)])
def test_odd_sizes_are_padded(tmp_path, size):
    frame = np.full((*size, 3), 80, "uint8")
    frame[:, -1] = 200
    reader = VideoReader(write_own(tmp_path / "x.mp4", [frame] * 3))
    height, width = reader.size
    assert (height, width) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    read = next(iter(reader))
    assert abs(int(read[-1, -1].mean()) - 200) < 20, "padded with a copy of the last column"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_exception_leaves_what_was_written(tmp_path, error):
    path = tmp_path / "film.mp4"
    with pytest.raises(error), VideoWriter(path, 25, (32, 48)) as film:
        for index in range(20):
            film.write(numbered(index % 12))
        assert not path.exists()
        raise error
    assert film.frames == 20
    assert len(list(VideoReader(path))) == 20
    assert list(tmp_path.iterdir()) == [path]


def test_frames_are_encoded_behind_the_callers_back(tmp_path):
    frame = numbered(3)
    with VideoWriter(tmp_path / "x.mp4", 25, (32, 48)) as film:
        film.write(frame)
        frame[:] = 0
    assert index_of(next(iter(VideoReader(tmp_path / "x.mp4")))) == 3


def test_no_frame_leaves_no_file_and_an_older_one_as_it_was(tmp_path):
    path = write_own(tmp_path / "film.mp4", [numbered(0)])
    before = path.read_bytes()
    with VideoWriter(path, 25, (32, 48)):
        pass
    message = r"expected frames of uint8 \(32, 48, 3\), .*\(31, 48, 3"
    with pytest.raises(ValueError, match=message), VideoWriter(path, 25, (32, 48)) as film:
        film.write(numbered(0, (31, 48)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(video_writer, "_frame_count", lambda path: 1)
    with pytest.raises(OSError, match="film.mp4: can't be written. Is the disk full"):
        write_own(tmp_path / "film.mp4", [numbered(0), numbered(1)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "fps", "size", "message"),
    [
        ("x.avi", 25, (4, 4), "ends in .mp4"),
        ("x.mp4", 0, (4, 4), "above 0"),
        ("x.mp4", float("nan"), (4, 4), "above 0"),
        ("x.mp4", 25, (0, 4), "above 0"),
    ],
)
def test_writer_refuses(tmp_path, name, fps, size, message):
    with pytest.raises(ValueError, match=message):
        VideoWriter(tmp_path / name, fps, size)


def test_without_an_encoder_the_writer_says_so(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(video_writer, "CODECS", ("av01",))
    with pytest.raises(OSError, match="OpenCV found no encoder for av01"):
        VideoWriter(tmp_path / "x.mp4", 25, (32, 48))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "MJPG"), ("mp4", "mp4v"), ("mkv", "VP90")])
def test_broken_frames_are_skipped_and_listed(tmp_path, capfd, suffix, codec):
    path = write_film(tmp_path / f"x.{suffix}", codec)
    reader = VideoReader(spoil(spoil(path, 4), 7))
    indices = []
    for _ in reader:
        indices.append(reader.index)
    assert reader.broken == [4, 7]
    assert indices == [i for i in range(COUNT) if i not in (4, 7)]
    assert not reader.truncated
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "truncated"), [("avi", True), ("mkv", False)])
def test_a_truncated_file_gives_what_is_there(tmp_path, suffix, truncated):
    codec = "MJPG" if suffix == "avi" else "VP90"
    reader = VideoReader(cut(write_film(tmp_path / f"x.{suffix}", codec), 5))
    assert [index_of(frame) for frame in reader] == list(range(5))
    assert reader.frame_count == COUNT
    assert reader.truncated == truncated, "Matroska's count is an estimate, good to a second"


def test_a_long_truncated_matroska_file_is_told(tmp_path):
    reader = VideoReader(cut(write_film(tmp_path / "x.mkv", "VP90", fps=5), 3))
    assert len(list(reader)) == 3 and reader.truncated


def test_a_broken_first_frame_is_no_obstacle(tmp_path):
    reader = VideoReader(spoil(write_film(tmp_path / "x.avi"), 0))
    assert [index_of(frame) for frame in reader] == list(range(1, COUNT))
    assert reader.broken == [0]


def test_a_senseless_frame_rate_becomes_25(tmp_path):
    reader = VideoReader(write_film(tmp_path / "x.avi", fps=1000))
    assert (reader.fps, reader.fps_known) == (25, False)


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "MJPG"), ("mp4", "vp09")])
def test_read_gives_the_same_frames_in_any_order(tmp_path, suffix, codec):
    reader = VideoReader(write_film(tmp_path / f"x.{suffix}", codec))
    frames = list(reader)
    for index in (3, 3, 4, 11, 11, 0, 7):
        np.testing.assert_array_equal(reader.read(index), frames[index])


def test_read_names_the_frame_that_is_not_there(tmp_path):
    reader = VideoReader(spoil(write_film(tmp_path / "x.avi"), 4))
    for index in (4, COUNT, -1):
        with pytest.raises(VideoError, match=rf"x.avi: frame {index} can't be decoded"):
            reader.read(index)
        assert index_of(reader.read(COUNT - 1)) == COUNT - 1
    assert index_of(reader.read(5)) == 5


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 40])
def test_what_is_no_video_is_named(tmp_path, capfd, content):
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(VideoError, match="x.mp4: can't be read as a video"):
        VideoReader(tmp_path / "x.mp4")
    with pytest.raises(VideoError, match="missing.mp4: no such file"):
        VideoReader(tmp_path / "missing.mp4")
    assert capfd.readouterr().err == ""


def test_an_mp4_cut_off_before_its_index_and_a_film_of_broken_frames_are_named(tmp_path):
    path = cut(write_film(tmp_path / "x.mp4", "mp4v"), 5)
    with pytest.raises(VideoError, match="truncated before its end"):
        VideoReader(path)
    path = spoil(write_film(tmp_path / "y.avi", count=1), 0)
    with pytest.raises(VideoError, match="y.avi: no frame"):
        VideoReader(path)


def save_pictures(folder, names, size=(6, 4)):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(np.full((*size, 3), i, "uint8")).save(folder / name)
    return folder


def test_a_folder_of_pictures_is_a_film_in_natural_order(tmp_path):
    folder = save_pictures(tmp_path / "f", ["9.png", "10.png", "010b.png", "a.png"])
    (folder / "notes.txt").touch()
    save_pictures(folder / "deeper", ["1.png"])
    film = ImageSequence(folder)
    assert [file.name for file in film.files] == ["9.png", "10.png", "010b.png", "a.png"]
    assert (film.size, film.frame_count, film.fps, film.fps_known) == ((6, 4), 4, 25, False)
    assert [frame.shape for frame in film] == [(6, 4, 3)] * 4


def test_a_folder_lists_broken_pictures_and_those_of_another_size(tmp_path):
    folder = save_pictures(tmp_path / "f", ["1.png", "2.png", "3.png"])
    save_pictures(folder, ["2.png"], (5, 4))
    (folder / "0.png").write_bytes(b"none")
    film = ImageSequence(folder)
    for _ in range(2):
        assert len(list(film)) == 2
        assert (film.broken, film.truncated, film.index) == ([0, 2], False, 3)


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(VideoError, match="expected images"):
        ImageSequence(tmp_path)
    with pytest.raises(VideoError, match="no such folder"):
        ImageSequence(tmp_path / "none")


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [(video, "PictureFolder", "ImageSequence"), (io, "PICTURE_SUFFIXES", "IMAGE_SUFFIXES")],
)
def test_old_names_work_and_say_what_replaces_them(module, old, new):
    with pytest.warns(DeprecationWarning, match=f"{old}` is deprecated .* Use `.*{new}`") as warned:
        assert getattr(module, old) is getattr(module, new)
    assert len(warned) == 1
    with pytest.raises(AttributeError, match="no attribute 'None'"):
        getattr(module, "None")
