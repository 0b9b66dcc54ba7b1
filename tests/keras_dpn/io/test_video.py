import itertools
import resource
import subprocess
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
from PIL import Image

from keras_dpn import io
from keras_dpn.io import video, video_reader, video_writer
from keras_dpn.io.video import ImageSequence, VideoError, VideoReader, VideoWriter
from keras_dpn.io.video_stream import VideoStream

COUNT = 12
SIZE = (32, 48)
H264 = "-c:v libx264 -pix_fmt yuv420p"
INTERLACED = "-flags +ildct+ilme -vf setfield=tff"


def numbered(index, size=SIZE):
    """A smooth frame whose left half tells its index."""
    frame = np.full((*size, 3), (200, 90, 40), "uint8")
    frame[:, : size[1] // 2] = 20 * index
    return frame


def index_of(frame):
    return round(frame[:, : frame.shape[1] // 2 - 2].mean() / 20)


@pytest.fixture(scope="module")
def ffmpeg():
    """Runs the program ffmpeg, splitting strings at spaces, and returns its standard output."""
    reason = "needs the program ffmpeg: pip install imageio-ffmpeg"
    program = pytest.importorskip("imageio_ffmpeg", reason=reason).get_ffmpeg_exe()

    def run(*arguments, content=None):
        words = [x.split() if isinstance(x, str) else [str(x)] for x in arguments]
        command = [program, "-v", "error", "-y", *itertools.chain(*words)]
        return subprocess.run(command, input=content, check=True, stdout=subprocess.PIPE).stdout

    return run


@pytest.fixture
def make_video(ffmpeg, tmp_path):
    """Writes numbered frames with colourful detail by ffmpeg, with options for its encoder."""

    def write(name, *options, size=SIZE, fps=25, count=COUNT):
        detail = np.random.default_rng(0).integers(0, 100, (*size, 3), "uint8")
        frames = [detail + numbered(i, size) // 2 for i in range(count)]
        source = f"-f rawvideo -pix_fmt rgb24 -s {size[1]}x{size[0]} -r {fps} -i -"
        ffmpeg(source, *options, tmp_path / name, content=np.stack(frames).tobytes())
        return tmp_path / name

    return write


def decoded_by_ffmpeg(ffmpeg, path, size):
    options = "-fps_mode passthrough -map 0:v:0 -f rawvideo -pix_fmt rgb24 -"
    return np.frombuffer(ffmpeg("-i", path, options), "uint8").reshape(-1, *size, 3)


def read(path):
    """The reader behind its last frame, the frames and their times."""
    reader, frames, times = VideoReader(path), [], []
    for frame in reader:
        frames.append(frame)
        times.append(reader.time)
    return reader, np.stack(frames), times


def assert_is_complete(reader, count):
    assert (reader.frame_count, reader.index, reader.broken) == (count, count - 1, [])
    assert not reader.truncated and not reader.is_static


def write_video(path, codec="mjpeg", fps=12.5, count=COUNT, size=SIZE):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index, size), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def spoil(path, index):
    """Zeroes the bytes of one frame."""
    content, packet = path.read_bytes(), packets(path)[index]
    assert content.count(packet) == 1
    path.write_bytes(content.replace(packet, bytes(len(packet))))
    return path


def cut(path, index, keep=0):
    """Cuts a file off where a frame starts, or N bytes behind."""
    content = path.read_bytes()
    path.write_bytes(content[: content.index(packets(path)[index]) + keep])
    return path


def write_own(path, frames, fps=25):
    with VideoWriter(path, fps, frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "new/clip.mp4"
    reader = VideoReader(write_own(path, [numbered(i) for i in range(COUNT)], fps=29.97))
    assert (reader.size, reader.frame_count, reader.fps_known) == ((32, 48), COUNT, True)
    assert reader.fps == pytest.approx(29.97)
    for _ in range(2):  # any number of times
        frames = list(reader)
        assert [index_of(frame) for frame in frames] == list(range(COUNT))
    assert frames[3].dtype == np.uint8
    np.testing.assert_allclose(frames[3][16, 40], (200, 90, 40), atol=12)  # RGB, not BGR
    assert (reader.index, reader.broken, reader.truncated) == (COUNT - 1, [], False)
    assert [p.name for p in path.parent.iterdir()] == ["clip.mp4"]


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
    path = tmp_path / "clip.mp4"
    with pytest.raises(error), VideoWriter(path, 25, (32, 48)) as writer:
        for index in range(20):
            writer.write(numbered(index % 12))
        assert not path.exists()
        raise error
    assert writer.frames == 20
    assert len(list(VideoReader(path))) == 20
    assert list(tmp_path.iterdir()) == [path]


def test_frames_are_encoded_behind_the_callers_back(tmp_path):
    frame = numbered(3)
    with VideoWriter(tmp_path / "x.mp4", 25, (32, 48)) as writer:
        writer.write(frame)
        frame[:] = 0
    assert index_of(next(iter(VideoReader(tmp_path / "x.mp4")))) == 3


def test_no_frame_leaves_no_file_and_an_older_one_as_it_was(tmp_path):
    path = write_own(tmp_path / "clip.mp4", [numbered(0)])
    before = path.read_bytes()
    with VideoWriter(path, 25, (32, 48)):
        pass
    message = r"expected frames of uint8 \(32, 48, 3\), .*\(31, 48, 3"
    with pytest.raises(ValueError, match=message), VideoWriter(path, 25, (32, 48)) as writer:
        writer.write(numbered(0, (31, 48)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_closed_writer_takes_no_frames(tmp_path):
    with VideoWriter(tmp_path / "x.mp4", 25, (32, 48)) as writer:
        writer.write(numbered(3))
        writer.close()
        with pytest.raises(ValueError, match=r"x.mp4: is closed"):
            writer.write(numbered(4))
    assert [index_of(frame) for frame in VideoReader(tmp_path / "x.mp4")] == [3]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), "uint8")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="clip.mp4"):
            write_own(tmp_path / "clip.mp4", [noise] * 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
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
    monkeypatch.setattr(video_writer, "ENCODERS", {"none": {}})
    with pytest.raises(OSError, match="FFmpeg has no encoder none"):
        VideoWriter(tmp_path / "x.mp4", 25, (32, 48))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "mjpeg"), ("mp4", "mpeg4"), ("mkv", "libvpx-vp9")]
)
def test_broken_frames_are_skipped_and_listed(tmp_path, capfd, suffix, codec):
    path = write_video(tmp_path / f"x.{suffix}", codec)
    reader = VideoReader(spoil(spoil(path, 4), 7))
    indices = []
    for _ in reader:
        indices.append(reader.index)
    assert reader.broken == [4, 7]
    assert indices == [i for i in range(COUNT) if i not in (4, 7)]
    assert not reader.truncated
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.avi", "mjpeg"), ("x.mkv", "libvpx-vp9"), ("x.flv", "flv")],
)
def test_a_truncated_file_gives_what_is_there(tmp_path, name, codec):
    reader = VideoReader(cut(write_video(tmp_path / name, codec, fps=5), 5))
    assert [index_of(frame) for frame in reader] == list(range(5))
    assert (reader.frame_count, reader.truncated) == (COUNT, True)


@pytest.mark.parametrize("keep", [0, 9])
def test_an_mp4_with_its_index_in_front_is_truncated(make_video, keep):
    path = make_video("x.mp4", H264, "-bf", 0, "-movflags", "faststart")
    reader, frames, _ = read(cut(path, 5, keep))
    assert len(frames) == 5 and reader.broken == [5] * bool(keep)
    assert (reader.frame_count, reader.truncated) == (COUNT, True)


def test_a_longer_sound_is_no_truncation(make_video, ffmpeg, tmp_path):
    sound = "-f lavfi -i sine -t 2 -c:v copy -c:a pcm_s16le"
    ffmpeg("-i", make_video("a.mkv", H264), sound, tmp_path / "b.mkv")
    assert_is_complete(read(tmp_path / "b.mkv")[0], COUNT)


def test_a_broken_first_frame_is_no_obstacle(tmp_path):
    reader = VideoReader(spoil(write_video(tmp_path / "x.avi"), 0))
    assert [index_of(frame) for frame in reader] == list(range(1, COUNT))
    assert reader.broken == [0]


def test_a_senseless_frame_rate_becomes_25(tmp_path):
    reader = VideoReader(write_video(tmp_path / "x.avi", fps=1000))
    assert (reader.fps, reader.fps_known) == (25, False)


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "mjpeg"), ("mp4", "libx264")])
def test_read_gives_the_same_frames_in_any_order(tmp_path, suffix, codec):
    reader = VideoReader(write_video(tmp_path / f"x.{suffix}", codec))
    frames = list(reader)
    for index in (3, 3, 4, 11, 11, 0, 7):
        np.testing.assert_array_equal(reader.read(index), frames[index])


def test_read_names_the_frame_that_is_not_there(tmp_path):
    reader = VideoReader(spoil(write_video(tmp_path / "x.avi"), 4))
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


def test_an_mp4_cut_off_before_its_index_and_a_video_of_broken_frames_are_named(tmp_path):
    path = cut(write_video(tmp_path / "x.mp4", "mpeg4"), 5)
    with pytest.raises(VideoError, match="truncated before its end"):
        VideoReader(path)
    path = spoil(write_video(tmp_path / "y.avi", count=1), 0)
    with pytest.raises(VideoError, match=r"y.avi: no frame .*codec mjpeg\). Convert it .*ffmpeg"):
        VideoReader(path)


@pytest.mark.parametrize("name", ["x.avi", "x.mov"])
def test_titles_are_in_any_encoding(make_video, name):
    path = make_video(name, "-c:v", "mjpeg", "-metadata", "title=Gerxxt", count=2)
    content = path.read_bytes()
    assert b"Gerxxt" in content
    path.write_bytes(content.replace(b"Gerxxt", "Gerät".encode("latin-1") + b"\xff"))
    assert_is_complete(read(path)[0], 2)


def test_a_codec_that_ffmpeg_does_not_know_is_named(make_video):
    path = make_video("x.mp4", H264)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(VideoError, match="x.mp4: FFmpeg doesn't know its codec zzzz. Convert it"):
        VideoReader(path)


def test_sound_without_a_video_is_named(make_video, ffmpeg, tmp_path):
    sound, cover, none = (tmp_path / name for name in ("sound.m4a", "cover.m4a", "none.mp4"))
    ffmpeg("-f lavfi -i sine -t 0.1 -c:a aac", sound)
    Image.fromarray(numbered(0)).save(tmp_path / "cover.png")
    both = "-map 0 -map 1 -c copy -disposition:v attached_pic"
    ffmpeg("-i", sound, "-i", tmp_path / "cover.png", both, cover)
    ffmpeg("-i", make_video("x.mp4", H264), "-c copy -frames:v 0", none)
    for path, found in (
        (sound, r"only sound \(aac"),
        (cover, r"only sound \(aac"),
        (none, "no fr"),
    ):
        with pytest.raises(VideoError, match=f"{path.name}: expected a video, found {found}"):
            VideoReader(path)


KINDS = {
    "progressive.mp4": (H264,),
    "interlaced.mp4": (H264, INTERLACED),
    "interlaced.ts": (H264, INTERLACED),
    "interlaced.mpg": ("-c:v", "mpeg2video", INTERLACED),
    "interlaced_422_10_bit.mov": ("-c:v", "prores_ks", INTERLACED, "-pix_fmt", "yuv422p10le"),
    "10_bit.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p10le"),
    "hevc_10_bit.mp4": ("-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p10le",),
    "vp9_10_bit.webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p10le"),
    "av1.mp4": ("-c:v", "libaom-av1", "-cpu-used", "8"),
    "vp8.webm": ("-c:v", "libvpx", "-b:v", "1M"),
    "mjpeg.avi": ("-c:v", "mjpeg"),
    "xvid.avi": ("-c:v", "mpeg4", "-bf", "2", "-vtag", "XVID"),
    "times_without_order.avi": (H264,),  # FFmpeg finds the times of decoding only
    "full_range.mp4": ("-c:v", "libx264", "-pix_fmt", "yuvj420p"),
    "bt709.mp4": (H264, "-colorspace", "bt709", "-color_primaries", "bt709"),
    "gray.mkv": ("-c:v", "ffv1", "-pix_fmt", "gray"),
    "palette.avi": ("-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse", "-pix_fmt", "pal8"),
    "no_index.mkv": (H264, "-live", "1", "-f", "matroska"),
    "fragments.mp4": (H264, "-g", "4", "-movflags", "frag_keyframe+empty_moov"),
    "open_groups.ts": (H264, "-x264-params", "open-gop=1:keyint=6:bframes=2"),
    "wmv2.wmv": ("-c:v", "wmv2"),
    "theora.ogv": ("-c:v", "libtheora"),
    "raw.h264": (H264,),
}


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_ffmpeg(make_video, ffmpeg, name):
    path = make_video(name, *KINDS[name], size=(48, 64))
    reader, frames, times = read(path)
    np.testing.assert_array_equal(frames, decoded_by_ffmpeg(ffmpeg, path, (48, 64)))
    means = frames[:, :, :32].mean(axis=(1, 2, 3))
    assert (np.diff(means) > 1).all(), "in order"
    assert_is_complete(reader, COUNT)
    assert (np.diff(times) > 0).all() and times[0] == 0
    assert VideoReader(path).read(7).tolist() == frames[7].tolist()


@pytest.mark.parametrize("name", ["dv.avi", "dv.dv"])
def test_dv_is_decoded_as_ffmpeg_does(make_video, ffmpeg, name):
    path = make_video(
        name, "-c:v", "dvvideo", "-pix_fmt", "yuv420p", size=(576, 720), fps=25, count=3
    )
    reader, frames, _ = read(path)
    np.testing.assert_array_equal(frames, decoded_by_ffmpeg(ffmpeg, path, (576, 720)))
    assert reader.fps == 25
    assert_is_complete(reader, 3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.mkv", ("-c:v", "ffv1", "-pix_fmt", "yuv420p")),
        ("x.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p")),
    ],
)
def test_odd_sizes_are_read(make_video, ffmpeg, name, options):
    path = make_video(name, *options, size=(33, 47))
    reader, frames, _ = read(path)
    assert reader.size == (33, 47)
    np.testing.assert_array_equal(frames, decoded_by_ffmpeg(ffmpeg, path, (33, 47)))


@pytest.mark.parametrize(
    "options",
    [
        ("-display_rotation", 90),
        ("-display_rotation", 180),
        ("-display_rotation", 270),
        ("-display_hflip",),
        ("-display_vflip",),
        ("-display_rotation", 90, "-display_hflip"),
        ("-display_rotation", 270, "-display_hflip"),
    ],
)
def test_turned_videos_are_upright(make_video, ffmpeg, tmp_path, options):
    path = tmp_path / "turned.mp4"
    ffmpeg(*options, "-i", make_video("x.mp4", H264, count=2), "-c", "copy", path)
    reader, frames, _ = read(path)
    assert reader.size == (SIZE[::-1] if 90 in options or 270 in options else SIZE)
    np.testing.assert_array_equal(frames, decoded_by_ffmpeg(ffmpeg, path, reader.size))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.mov", ("-c:v", "qtrle", "-pix_fmt", "argb")),
        ("x.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p")),
        ("y.webm", ("-c:v", "libvpx", "-auto-alt-ref", "0", "-pix_fmt", "yuva420p")),
    ],
)
def test_transparent_pixels_are_composited_on_black(make_video, name, options):
    opaque = read(make_video("opaque.mkv", "-c:v", "ffv1", "-pix_fmt", "bgr0", count=2))[1]
    half = "format=rgba,colorchannelmixer=aa=0.5"
    frames = read(make_video(name, "-vf", half, *options, count=2))[1]
    assert abs(frames.mean() - opaque.mean() / 2) < 2


def test_a_list_of_edits_hides_frames(make_video, ffmpeg, tmp_path):
    path = tmp_path / "cut.mp4"
    ffmpeg("-ss", "0.4", "-i", make_video("x.mp4", H264, fps=10), "-c", "copy", path)
    reader, frames, times = read(path)
    assert len(packets(path)) > len(frames) == 8
    np.testing.assert_array_equal(frames, decoded_by_ffmpeg(ffmpeg, path, SIZE))
    assert_is_complete(reader, 8)
    assert times == pytest.approx(np.arange(8) / 10)


PAUSES = (0, 0.1, 0.2, 0.7, 1.9, 2)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "mkv"])
def test_a_variable_rate_keeps_its_times(ffmpeg, tmp_path, suffix):
    path = tmp_path / "own.mp4"
    with VideoWriter(path, 10, SIZE) as writer:
        for index, time in enumerate(PAUSES):
            writer.write(numbered(index), time)
    if suffix != "mp4":
        ffmpeg("-i", path, "-c", "copy", tmp_path / f"x.{suffix}")
        path = tmp_path / f"x.{suffix}"
    reader, frames, times = read(path)
    assert [index_of(frame) for frame in frames] == list(range(6))
    assert times == pytest.approx(PAUSES, abs=1e-3)
    assert_is_complete(reader, 6)
    with av.open(str(path)) as container:
        assert container.duration / av.time_base == pytest.approx(2.1, abs=0.01)


def test_a_recording_that_starts_between_key_frames_lacks_nothing(make_video, ffmpeg):
    path = make_video("x.ts", H264, "-g", "5", "-bf", "0")
    content = path.read_bytes()
    start = content.index(packets(path)[2][:60]) // 188 * 188
    path.write_bytes(content[start:])
    reader, frames, _ = read(path)
    assert 5 <= len(frames) < COUNT
    np.testing.assert_array_equal(frames, decoded_by_ffmpeg(ffmpeg, path, SIZE))
    assert_is_complete(reader, len(frames))


def test_joined_recordings_follow_each_other(make_video):
    path = make_video("x.ts", H264, fps=10)
    path.write_bytes(2 * path.read_bytes())
    reader, _, times = read(path)
    assert_is_complete(reader, 2 * COUNT)
    assert times == pytest.approx(np.arange(2 * COUNT) / 10)


@pytest.mark.parametrize(
    ("stamps", "has_jumps", "expected"),
    [
        ((5, 6, 9), False, (0, 1, 4)),
        ((5, None, 9), False, (0, 0.5, 4)),
        ((None, 6, 7), False, (0, 0.5, 1.5)),
        ((5, 6, 6, 7), False, (0, 1, 1.5, 2)),
        ((50, 51, 0, 2), False, (0, 1, 1.5, 3.5)),
        ((0, 1, 90, 91), True, (0, 1, 1.5, 2.5)),
        ((0, 1, 90, 91), False, (0, 1, 90, 91)),
    ],
)
def test_times_increase(stamps, has_jumps, expected):
    clock = video_reader._Clock(2.0, 1, has_jumps)
    assert tuple(clock.time(i, stamp) for i, stamp in enumerate(stamps)) == expected


def test_broken_last_frames_are_listed(make_video):
    path = make_video("x.mp4", H264, "-bf", "0")
    reader, _, _ = read(spoil(spoil(path, 10), 11))
    assert (reader.broken, reader.index, reader.truncated) == ([10, 11], 9, False)


def test_identical_frames_are_told(tmp_path):
    for frames, expected in (([3, 3, 3], True), ([3, 3, 4], False), ([3], False)):
        reader, _, _ = read(write_own(tmp_path / "x.mp4", [numbered(i) for i in frames]))
        assert reader.is_static == expected
        folder = tmp_path / f"{len(frames)}{frames[-1]}"
        folder.mkdir()
        for name, index in enumerate(frames):
            Image.fromarray(numbered(index)).save(folder / f"{name}.png")
        sequence = ImageSequence(folder)
        assert len(list(sequence)) == len(frames) and sequence.is_static == expected


def test_a_time_that_does_not_increase_is_an_error(tmp_path):
    with VideoWriter(tmp_path / "x.mp4", 10, SIZE) as writer:
        writer.write(numbered(0), 1.0)
        writer.write(numbered(1), 1.0000001)
        with pytest.raises(ValueError, match="x.mp4: expected times that increase, received 0.5"):
            writer.write(numbered(2), 0.5)
    assert len(read(tmp_path / "x.mp4")[1]) == 2


def test_frames_are_counted_without_decoding(make_video, monkeypatch):
    path = make_video("x.mkv", H264)
    monkeypatch.setattr(VideoStream, "decode", None)
    assert VideoStream(path).count() == COUNT


def save_pictures(folder, names, size=(6, 4)):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(np.full((*size, 3), i, "uint8")).save(folder / name)
    return folder


def test_a_folder_of_images_is_a_video_in_natural_order(tmp_path):
    folder = save_pictures(tmp_path / "f", ["9.png", "10.png", "010b.png", "a.png"])
    for name in ("notes.txt", "._9.png"):
        (folder / name).touch()
    save_pictures(folder / "deeper", ["1.png"])
    sequence = ImageSequence(folder)
    assert [file.name for file in sequence.files] == ["9.png", "10.png", "010b.png", "a.png"]
    assert (sequence.size, sequence.frame_count) == ((6, 4), 4)
    assert (sequence.fps, sequence.fps_known) == (25, False)
    assert [frame.shape for frame in sequence] == [(6, 4, 3)] * 4


def test_a_folder_lists_broken_pictures_and_those_of_another_size(tmp_path):
    folder = save_pictures(tmp_path / "f", ["1.png", "2.png", "3.png"])
    save_pictures(folder, ["2.png"], (5, 4))
    (folder / "0.png").write_bytes(b"none")
    sequence = ImageSequence(folder)
    for _ in range(2):
        assert len(list(sequence)) == 2
        assert (sequence.broken, sequence.truncated, sequence.index) == ([0, 2], False, 3)


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


def test_larger_frames_than_declared_are_not_decoded(tmp_path):
    """Each frame of Motion JPEG has a size of its own."""
    path, sizes = tmp_path / "a.avi", ((64, 64), (1024, 1024), (64, 64))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for index, size in enumerate(sizes):
            Image.new("RGB", size).save(content := BytesIO(), "JPEG")
            packet = av.Packet(content.getvalue())
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, index, index, True
            container.mux(packet)
    reader = VideoReader(path, max_pixels=5000)
    assert [frame.shape for frame in reader] == [(64, 64, 3)] * 2 and reader.broken == [1]
    decoded = [(frame.width, frame.height) for _, frame in VideoStream(path).decode()]
    limited = [frame.width for _, frame in VideoStream(path, max_pixels=5000).decode()]
    assert decoded == [*sizes] and limited == [64, 64]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".txt"])
def test_lists_of_other_files_are_no_videos(tmp_path, suffix):
    """They would show what is next to them, or elsewhere."""
    secret = write_video(tmp_path / "secret.avi")
    listed = [
        "ffconcat version 1.0\nfile secret.avi\n",
        f"ffconcat version 1.0\nfile {secret}\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.avi\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/secret.ts\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 26\n",
    ]
    for content in listed:
        (path := tmp_path / f"list{suffix}").write_text(content)
        with pytest.raises(VideoError, match=f"list{suffix}: "):
            VideoReader(path)
