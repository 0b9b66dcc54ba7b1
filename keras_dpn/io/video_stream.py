"""The frames of a video file as FFmpeg decodes them, with their index."""

from __future__ import annotations  # `Packet` is generic in its stub only

import bisect
import contextlib
import itertools
import math
import os
import re
from collections.abc import Generator, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AVStream

from keras_dpn.limits import SMALL

ADVICE = "Convert it with another program: ffmpeg -i OLD -c:v libx264 -pix_fmt yuv420p NEW.mp4"

SENSIBLE_FPS = (0.1, 480.0)
# A container that tells its length tells that of its longest stream, often that of the sound: up to
# N seconds less of video is no truncation.
DURATION_SLACK = 1.0
_TS_DISCONT = 0x0200  # AVFMT_TS_DISCONT
# Packets that a decoder holds back at most: 16 reordered ones, and one in each of its threads.
_MOST_REORDERED = 64
# FFmpeg's formats without frames of their own.
_PLAYLISTS = {"concat", "dash", "hls", "imf", "rtsp", "sdp"}
# FFmpeg's own decoders of VP8 and VP9 leave out the alpha channel.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class VideoError(ValueError):
    """A video that can't be read; the message names the file."""


class VideoStream:
    """The best video stream of a file, decoded once from its start.

    Args:
        path: the file.
        frame_threads: decode several frames at once.
        max_pixels: frames of far more are not decoded, whatever size the file declares; None: any
            number.

    Attributes:
        path: the file.
        codec: its name, as FFmpeg calls it.
        fps: frames per second, the mean of a variable rate; None if the file names no rate within
            `SENSIBLE_FPS`.
        declared_size: (height, width) of a frame, not turned upright; 0 where unknown.
        declared_seconds: duration; 0 if unknown.
        time_base: seconds per unit of the frames' `pts`.
        has_jumps: whether timestamps may be discontinuous in this format.
        found: frames that the file holds, broken ones included; known after the last frame.
        is_truncated: whether it ends before the frames that it declares; known after the last one.

    Raises:
        VideoError: if the file isn't a video, or its codec is unknown.
    """

    def __init__(
        self, path: Path, frame_threads: bool = True, max_pixels: int | None = None
    ) -> None:
        self.path, self._max_pixels = path, max_pixels
        limits = _decoder_limits(max_pixels)
        self._container = _open(path, limits)
        self._stream = _best_stream(self._container, path)
        self._decoder = _decoder(self._stream)
        self._decoder.options = limits
        self._decoder.thread_type = "AUTO" if frame_threads else "SLICE"
        self.codec = self._decoder.name
        rates = self._stream.average_rate, self._stream.guessed_rate
        sensible = [r for r in rates if r and SENSIBLE_FPS[0] <= r <= SENSIBLE_FPS[1]]
        self.fps = float(sensible[0]) if sensible else None
        self.time_base = self._stream.time_base or Fraction(1)
        self.declared_size = self._decoder.height, self._decoder.width
        self.declared_seconds = max(
            float((self._stream.duration or 0) * self.time_base),
            (self._container.duration or 0) / av.time_base,
            (self._stream.frames or 0) / self.fps if self.fps else 0.0,
        )
        self.has_jumps = bool(self._container.format.flags & _TS_DISCONT)
        self.found, self.is_truncated = 0, False
        self._frame_threads = frame_threads
        self._has_failed = False
        self._shown = 0  # packets with a frame to show
        self._end = 0.0  # of the last of these, in seconds

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def decode(self) -> Generator[tuple[int, VideoFrame], None, None]:
        """Yield each frame that isn't broken with its index, in order of presentation.

        The index counts broken frames: packets of the file from which no frame came, behind the
        first error of the decoder. Some healthy ones hold no frame of their own.
        """
        waiting: list[tuple[int, int]] = []  # (run, pts) of the packets without a frame so far
        index, count = -1, 0
        try:
            for run, packet in self._packets():
                if packet is not None and run is not None and packet.pts is not None:
                    bisect.insort(waiting, (run, packet.pts))
                    del waiting[:-_MOST_REORDERED]
                for frame in self._frames(packet):
                    dropped = _drop_until(waiting, frame.pts)
                    index += 1 + (dropped if self._has_failed else 0)
                    last, count = frame.pts, count + 1
                    yield index, frame
            self.is_truncated = self._missing() > 0
            tail = [pts for _, pts in waiting if count == 0 or (last is not None and pts > last)]
            if tail and self._frame_threads:
                # Behind an error PyAV drops what its threads still hold at the end of the file.
                again = VideoStream(self.path, False, self._max_pixels)
                yield from itertools.islice(again.decode(), count, None)
                self.found = again.found
            else:
                self.found = index + 1 + (len(tail) if self._has_failed else 0)
        finally:
            self.close()

    def count(self) -> int:
        """Return the number of frames by reading the file, not decoding it, and close it."""
        try:
            # The only formats whose index lists each frame. Edit lists hide some.
            if self._stream.frames and self._lists_frames:
                return sum(not entry.is_discard for entry in self._stream.index_entries)
            for _ in self._packets():
                pass
            return self._shown + self._missing()
        finally:
            self.close()

    def _missing(self) -> int:
        """Return how many of the declared frames the file lacks."""
        if self._lists_frames:
            size = self.path.stat().st_size
            return sum(e.pos + e.size > size for e in self._stream.index_entries)
        declared, slack = self._declared_end()
        missing = declared - self._end
        return round(missing * (self.fps or 0)) if missing > slack else 0

    def _declared_end(self) -> tuple[float, float]:
        """Return when the last frame ends as the file says, and by how much that may be wrong."""
        kind, stream = self._container.format.name, self._stream
        if "matroska" in kind and "DURATION" in stream.metadata:
            with contextlib.suppress(ValueError):
                hours, minutes, seconds = map(float, stream.metadata["DURATION"].split(":"))
                return 3600 * hours + 60 * minutes + seconds, 0.0
        if kind == "avi" and stream.frames and stream.average_rate:
            return float(stream.frames / stream.average_rate), 0.0
        if any(name in kind for name in ("matroska", "flv", "asf")) and self._container.duration:
            return self._container.duration / av.time_base, DURATION_SLACK
        return 0.0, 0.0  # nothing declared

    @property
    def _lists_frames(self) -> bool:
        return "mov" in self._container.format.name.split(",")

    def _packets(self) -> Iterator[tuple[int | None, Packet[AVStream] | None]]:
        """Yield the packets, each with its run if it holds a frame to show; at the end None.

        Timestamps increase within a run: joined files start again.
        """
        run, previous = 0, -math.inf
        first_key: tuple[int, int] | None = None
        packets = self._container.demux(self._stream)
        with contextlib.suppress(av.FFmpegError):  # what can't be read any more is truncated
            for packet in packets:
                if packet.size == 0:
                    continue  # asks for the decoder's last frames
                if packet.dts is not None:
                    run += packet.dts < previous
                    previous = packet.dts
                if first_key is None and packet.is_keyframe:
                    first_key = run, packet.pts or 0
                # A recording may start between key frames: what precedes the first has no image.
                started = first_key is not None and (run, packet.pts or 0) >= first_key
                is_shown = started and not packet.is_discard and not self._is_hidden(packet)
                if is_shown:
                    self._shown += 1
                    pts = packet.pts if packet.pts is not None else packet.dts or 0
                    end = float((pts + (packet.duration or 0)) * self.time_base)
                    if not packet.duration:
                        end += 1 / (self.fps or 1)
                    self._end = max(self._end, end)
                yield run if is_shown else None, packet
        yield None, None

    def _is_hidden(self, packet: Packet[AVStream]) -> bool:
        # RFC 6386, section 9.1: VP8 keeps frames of reference in packets of their own.
        return self.codec in ("vp8", "libvpx") and not memoryview(packet)[0] & 0x10

    def _frames(self, packet: Packet[AVStream] | None) -> list[VideoFrame]:
        try:
            return self._decoder.decode(packet)
        except av.FFmpegError:
            self._has_failed = True
            return []


def _decoder_limits(max_pixels: int | None) -> dict[str, str]:
    """Return FFmpeg's options: it counts pixels with up to 63 more columns and rows."""
    return {} if max_pixels is None else {"max_pixels": str(4 * max(max_pixels, SMALL))}


def _open(path: Path, limits: Mapping[str, str]) -> InputContainer:
    try:
        # An absolute path, since FFmpeg takes what precedes a colon for a protocol. genpts: AVI has
        # no times of presentation. No playlist leads into a network.
        options = {"fflags": "+genpts", "protocol_whitelist": "file", **limits}
        # Titles are in any encoding, in AVI mostly the camera's.
        container = av.open(os.path.abspath(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        if not path.is_file():
            raise VideoError(f"{path}: no such file.") from None
        raise VideoError(
            f"{path}: can't be read as a video ({error.strerror}). It is none, its format is "
            "unknown to FFmpeg, or it was truncated before its end, where mp4 files keep their "
            "index."
        ) from error
    kind = container.format.name
    if kind in _PLAYLISTS:
        container.close()
        raise VideoError(f"{path}: expected a video, received a list of other files ({kind}).")
    return container


def _best_stream(container: InputContainer, path: Path) -> AVStream:
    stream = container.streams.best("video")
    if stream is None:
        stream = next((s for s in container.streams if s.type == "video"), None)
    if stream is None or stream.disposition & Disposition.attached_pic:
        sound = ", ".join(s.codec_context.name for s in container.streams.audio)
        what = f"only sound ({sound})" if sound else "no frame"
        raise VideoError(f"{path}: expected a video, found {what} in it.")
    assert isinstance(stream, AVStream)
    if stream.codec_context is None:
        raise VideoError(f"{path}: FFmpeg doesn't know its codec{_codec_tag(path)}. {ADVICE}")
    return stream


def _decoder(stream: AVStream) -> VideoCodecContext:
    default = stream.codec_context
    name = _ALPHA_DECODERS.get(default.name)
    if name in av.codecs_available and stream.metadata.get("alpha_mode") == "1":
        decoder = av.CodecContext.create(name, "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata = default.extradata
        return decoder
    return default


def _codec_tag(path: Path) -> str:
    """Return the name that the file gives its codec, which only FFmpeg's messages tell."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as messages:
            av.open(os.path.abspath(path), metadata_errors="replace").close()
    finally:
        av.logging.set_level(level)
    found = re.search(r"Video: none \((.+?) /", "".join(text for _, _, text in messages))
    return f" {found[1]}" if found else ""


def _drop_until(waiting: list[tuple[int, int]], pts: int | None) -> int:
    """Remove the packet of a frame and those before it; return how many these are."""
    position = next((i for i, (_, value) in enumerate(waiting) if value == pts), None)
    if position is None:
        return 0
    del waiting[: position + 1]
    return position
