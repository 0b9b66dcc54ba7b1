"""Client: the labels of images, clips and videos from a served model."""

import collections
import dataclasses
import itertools
import os
import random
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from keras_dpn.client.answers import OUTPUTS, OUTPUTS_OF_CLIPS, Answer, Output, answer_of
from keras_dpn.client.errors import ServingError
from keras_dpn.client.inputs import Image, check, checked_clip, encoded
from keras_dpn.client.transports import Grpc, Question, Rest, Transport
from keras_dpn.client.video import Clip, Flow, clips
from keras_dpn.deprecation import renamed_argument

REPEATABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
T = TypeVar("T")


class Client:
    """Ask a served model for the labels of images, clips and videos.

    Requests that find no server, or one too busy, are repeated after 0.1 s, 0.2 s, 0.4 s and so on
    up to 5 s, each less a random part, so that many clients don't come back at once. Answering a
    image changes nothing on the server, so one that timed out is repeated too. What the server
    refuses is not. Threads may share a client.

    Args:
        address: "http://host:8501" (or https) for REST, "grpc://host:8500" (or grpcs, over TLS) for
            gRPC, whose answers are smaller: REST sends labels as text, and all of the outputs.
        model: its name on the server.
        version: its number, or its label on the server; the newest if not given.
        outputs: what answers shall hold: "labels", "probabilities", "overlay", "label_png",
            "classes", "stages". All but the first only if the model was exported with them.
        timeout: seconds that one attempt may take.
        deadline: seconds that an image may take, with all attempts and the waits between.
        attempts: the most there are.
        certificate: over TLS, a PEM file of the certificates to trust instead of those that are
            installed: a server's own, or its issuer's.

    Raises:
        ValueError: for an argument out of its range.
        OSError: the certificate cannot be read.

    Example:
        >>> with Client("http://localhost:8501", "street") as client:  # doctest: +SKIP
        ...     labels = client.predict("street.jpg").labels
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | str | None = None,
        outputs: Sequence[Output] = ("labels",),
        timeout: float = 30.0,
        deadline: float = 120.0,
        attempts: int = 5,
        certificate: str | os.PathLike[str] | None = None,
    ) -> None:
        for output in outputs:
            check(output in OUTPUTS, "outputs", f"some of {list(OUTPUTS)}", outputs)
        for name, value in (("timeout", timeout), ("deadline", deadline)):
            check(value > 0, name, "seconds above 0", value)
        check(attempts >= 1, "attempts", "an integer of at least 1", attempts)
        self.outputs = tuple(outputs)
        self.timeout, self.deadline, self.attempts = timeout, deadline, attempts
        self._transport = _transport(address, model, version, certificate)

    @renamed_argument("picture", "image")
    def predict(self, image: Image) -> Answer:
        """Ask for the labels of one image.

        Args:
            image: the path of a JPEG, PNG, GIF or BMP file; the bytes of one; or uint8 RGB
                (H, W, 3).

        Raises:
            OSError: the file cannot be read.
            ValueError: for an array of another kind.
            ServingError: the server can't be reached in time, or refuses. The message begins with
                the file's name.
        """
        name, data = encoded(image)
        # `sizes` always: a server that joins requests pads them to the largest image.
        asked = ["sizes", *(x for output in self.outputs for x in OUTPUTS[output])]
        return self._asked(name, Question("serving_default", {"image_bytes": data}, asked))

    @renamed_argument("pictures", "images")
    def predict_many(
        self, images: Iterable[Image], parallel: int = 4
    ) -> Iterator[Answer | Exception]:
        """Ask for the labels of many images, a few at a time.

        Args:
            images: as for `predict`. They are taken, and read, as answers are fetched.
            parallel: the most requests under way at once.

        Yields:
            For each image, in the order given, its answer or the exception that `predict` would
            have raised: one bad image doesn't stop the others.

        Raises:
            ValueError: for a `parallel` below 1.

        Example:
            >>> for path, found in zip(paths, client.predict_many(paths)):  # doctest: +SKIP
            ...     print(path, found if isinstance(found, Exception) else found.labels.shape)
        """
        check(parallel >= 1, "parallel", "an integer of at least 1", parallel)
        return self._answers(self.predict, iter(images), parallel)

    def predict_clip(
        self,
        frames: np.ndarray,
        forward_flow: np.ndarray | None = None,
        backward_flow: np.ndarray | None = None,
    ) -> Answer:
        """Ask a `keras_dpn.models.SpatialTemporalDPN` for one clip.

        Args:
            frames: uint8 RGB (T, H, W, 3); T is odd for a network that labels the middle one.
            forward_flow: (T-1, H, W, 2), (dx, dy) in pixels, from frame t to t+1, for a network
                that links its frames by optical flow. Without the two it takes pixels at the same
                place for neighbours.
            backward_flow: of the same shape, from frame t+1 to t.

        Returns:
            An `Answer` with those of the outputs that clips have: labels, probabilities, stages.

        Raises:
            ValueError: for arrays of another kind, and where none of the outputs is of a clip.
            ServingError: as `predict`.

        Example:
            >>> frames = np.stack([first, second, third])  # doctest: +SKIP
            >>> labels = client.predict_clip(frames).labels  # of the second  # doctest: +SKIP
        """
        flows = {"forward_flow": forward_flow, "backward_flow": backward_flow}
        given = {name: flow for name, flow in flows.items() if flow is not None}
        return self._predict_clip({"frames": frames, **given})

    def predict_video(
        self,
        frames: Iterable[np.ndarray],
        length: int = 3,
        flow: Flow | None = None,
        parallel: int = 4,
    ) -> Iterator[Answer | Exception]:
        """Ask a `keras_dpn.models.SpatialTemporalDPN` for each frame of a video.

        Each is sent with the frames around it. Beyond the video's ends lie copies of its first and
        last frame.

        Args:
            frames: uint8 RGB (H, W, 3), all of one size. They are taken as answers are fetched.
            length: of a clip, odd: as many frames as the network was trained on.
            flow: function from two frames to the optical flow from the first to the second,
                (H, W, 2), for a network that links its frames by it; called once each way. None:
                pixels at the same place are neighbours.
            parallel: the most requests under way at once.

        Yields:
            For each frame, in order, its answer or the exception that `predict_clip` would have
            raised.

        Raises:
            ValueError: for a `parallel` below 1, a `length` that isn't odd, and frames and flows
                whose sizes change.

        Example:
            >>> dis = cv2.DISOpticalFlow.create()  # doctest: +SKIP
            >>> def flow(first, second):  # doctest: +SKIP
            ...     grey = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (first, second)]
            ...     return dis.calc(*grey, None)
            >>> for answer in client.predict_video(frames, flow=flow):  # doctest: +SKIP
            ...     print(answer.labels.shape)
        """
        check(parallel >= 1, "parallel", "an integer of at least 1", parallel)
        check(length >= 1 and length % 2 == 1, "length", "an odd integer", length)
        return self._answers(self._predict_middle, clips(frames, length, flow), parallel)

    def versions(self) -> dict[int, str]:
        """Return the state of each version of the model on the server.

        "AVAILABLE" is one that answers.

        Raises:
            ServingError: the server can't be reached in time, or has no such model.
        """
        return self._repeated("versions", self._transport.versions)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(
        self, predict: Callable[[Any], Answer], items: Iterator[Any], parallel: int
    ) -> Iterator[Answer | Exception]:
        def ask(item: Any) -> Answer | Exception:
            try:
                return predict(item)
            except (ServingError, OSError, ValueError) as error:
                return error

        with ThreadPoolExecutor(parallel) as executor:
            # Twice as many as run, so that a slow one doesn't leave the others idle.
            first = itertools.islice(items, 2 * parallel)
            waiting = collections.deque(executor.submit(ask, item) for item in first)
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(
                        executor.submit(ask, item) for item in itertools.islice(items, 1)
                    )
            finally:  # also where nobody wants the rest
                executor.shutdown(wait=False, cancel_futures=True)

    def _predict_clip(self, inputs: Clip) -> Answer:
        asked = [x for name in OUTPUTS_OF_CLIPS if name in self.outputs for x in OUTPUTS[name]]
        check(bool(asked), "outputs", f"one of {list(OUTPUTS_OF_CLIPS)} for clips", self.outputs)
        inputs = checked_clip(inputs)
        signature = "clip" if len(inputs) == 1 else "clip_with_flow"
        name = f"a clip of shape {inputs['frames'].shape}"
        return self._asked(name, Question(signature, inputs, asked))

    def _predict_middle(self, inputs: Clip) -> Answer:
        """The answer for the middle frame, also where the network labels all."""
        answer, length = self._predict_clip(inputs), len(inputs["frames"])
        ranks = {"labels": 2, "probabilities": 3, "stage_labels": 3, "stage_confidences": 3}
        found = {name: getattr(answer, name) for name in ranks}
        middle = {
            name: x.take(length // 2, axis=1 if name.startswith("stage") else 0)
            for name, x in found.items()
            if x is not None and x.ndim > ranks[name]
        }
        return dataclasses.replace(answer, **middle)

    def _asked(self, name: str, question: Question) -> Answer:
        def ask(seconds: float) -> Answer:
            return answer_of(self._transport.predict(question, seconds))

        return self._repeated(name, ask)

    def _repeated(self, name: str, call: Callable[[float], T]) -> T:
        """Calls with the seconds that are left, again where that may help."""
        end = time.monotonic() + self.deadline
        attempt = 0
        while True:
            attempt += 1
            try:
                return call(min(self.timeout, max(end - time.monotonic(), 1e-3)))
            except ServingError as error:
                wait = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1)
                late = time.monotonic() + wait >= end
                if late or attempt == self.attempts or error.status not in REPEATABLE:
                    tries = f" ({attempt} attempts)" if attempt > 1 else ""
                    message = f"{name}: {error.status}{tries}: {error}"
                    raise ServingError(message, error.status) from error
            time.sleep(wait)


def _transport(
    address: str,
    model: str,
    version: int | str | None,
    certificate: str | os.PathLike[str] | None,
) -> Transport:
    parts = urllib.parse.urlsplit(address)
    known = parts.scheme in ("http", "https", "grpc", "grpcs") and bool(parts.netloc)
    check(known, "address", "http(s)://host:port or grpc(s)://host:port", address)
    check(bool(model), "model", "the model's name on the server", model)
    secure = parts.scheme in ("https", "grpcs")
    usable = certificate is None or secure
    check(usable, "certificate", "None but with grpcs and https", certificate)
    trusted = None if certificate is None else Path(certificate)
    if parts.scheme.startswith("grpc"):
        return Grpc(parts.netloc, model, version, secure, trusted)
    return Rest(address, model, version, trusted)
