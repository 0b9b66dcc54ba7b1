"""Client: predictions of a served model for images, clips and videos."""

import dataclasses
import numbers
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar

import numpy as np

from keras_dpn.client.connection import connect
from keras_dpn.client.errors import ServingError
from keras_dpn.client.inputs import Image, check, checked_clip, encoded
from keras_dpn.client.parallel import in_parallel
from keras_dpn.client.predictions import (
    OUTPUTS,
    OUTPUTS_OF_CLIPS,
    SIGNATURES,
    Output,
    Prediction,
    prediction_of,
)
from keras_dpn.client.rest import Rest
from keras_dpn.client.transports import MAX_BYTES, Request, check_response
from keras_dpn.client.video import Clip, Flow, clips
from keras_dpn.deprecation import renamed_argument

REPEATABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
# In seconds: sockets and timers take no timeouts of a month or of infinity.
LONGEST_ATTEMPT = 1e6
_DEFAULT = "serving_default"
T = TypeVar("T")


class Client:
    """Request predictions for images, clips and videos from a served model.

    If the server is unreachable, too busy or too slow, requests are repeated after 0.1 s, 0.2 s,
    0.4 s and so on up to 5 s, each shortened by a random amount, so that many clients don't return
    at once. Requests that the server refuses are not repeated. A client is thread-safe.

    Args:
        address: "http://host:8501" (or https) for REST, "grpc://host:8500" (or grpcs, over TLS) for
            gRPC, whose responses are smaller: REST sends labels as text, and all of the outputs,
            unless "overlay" or "label_png" is the only one requested.
        model: name of the model on the server.
        version: number of the version, or its label on the server; the newest by default.
        outputs: the outputs to request: "labels", "probabilities", "overlay", "label_png",
            "classes", "stages". All but the first require a model that was exported with them.
        timeout: timeout of one attempt in seconds; infinity counts as a million.
        deadline: timeout of an image in seconds, with all attempts and the waits between; may be
            infinity.
        attempts: largest number of attempts.
        certificate: over TLS, a PEM file of the certificates to trust instead of the system's: the
            server's, or its issuer's.
        max_bytes: largest response in bytes. Of JSON, a reader may take twenty times as much
            memory.

    Raises:
        ValueError: for an argument out of its range.
        OSError: if the certificate can't be read.

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
        max_bytes: int = MAX_BYTES,
    ) -> None:
        for output in outputs:
            check(output in OUTPUTS, "outputs", f"some of {list(OUTPUTS)}", outputs)
        for name, value in (("timeout", timeout), ("deadline", deadline)):
            is_above_0 = isinstance(value, numbers.Real) and value > 0
            check(is_above_0, name, "seconds above 0", value)
        for name, count in (("attempts", attempts), ("max_bytes", max_bytes)):
            check(count >= 1, name, "an integer of at least 1", count)
        self.outputs = tuple(outputs)
        self.timeout, self.deadline, self.attempts = timeout, deadline, attempts
        self._transport = connect(address, model, version, certificate, max_bytes)
        self._signature = _DEFAULT
        if isinstance(self._transport, Rest) and len(set(self.outputs)) == 1:
            # REST returns all outputs of a signature: these have that file alone.
            self._signature = SIGNATURES.get(self.outputs[0], self._signature)

    @renamed_argument("picture", "image")
    def predict(self, image: Image) -> Prediction:
        """Return the prediction for one image.

        Args:
            image: the path of an image; the bytes of one; uint8 RGB (H, W, 3); or a Pillow image.
                JPEG, PNG and GIF files are sent as they are, others are converted to PNG, which
                takes Pillow.

        Raises:
            OSError: if the file can't be read.
            ValueError: for an array of another shape or dtype, or an image that can't be converted.
            ServingError: if the server can't be reached in time, or refuses the request. The
                message begins with the file's name.
        """
        name, data = encoded(image)
        # `sizes` always: a server that batches requests pads them to the largest image.
        outputs = ["sizes", *(x for output in self.outputs for x in OUTPUTS[output])]
        request = Request(self._signature, {"image_bytes": data}, outputs)
        try:
            return self._request(name, request)
        except ServingError as error:
            if request.signature == _DEFAULT or "signature" not in str(error).lower():
                raise
        # A model that was exported before it had this signature.
        self._signature = _DEFAULT
        return self._request(name, dataclasses.replace(request, signature=_DEFAULT))

    @renamed_argument("pictures", "images")
    def predict_many(
        self, images: Iterable[Image], parallel: int = 4
    ) -> Iterator[Prediction | Exception]:
        """Yield the predictions for many images, with several requests in parallel.

        Args:
            images: as for `predict`. They are read while predictions are consumed.
            parallel: largest number of requests in flight.

        Yields:
            For each image, in order, its prediction or the exception of `predict`: an invalid
            image doesn't stop the others. It comes when the next image is read, or earlier if
            twice as many as `parallel` wait.

        Raises:
            ValueError: for a `parallel` below 1.
            Exception: that of `images`, if it fails, after the predictions of the images before.

        Example:
            >>> for path, result in zip(paths, client.predict_many(paths)):  # doctest: +SKIP
            ...     print(path, result if isinstance(result, Exception) else result.labels.shape)
        """
        check(parallel >= 1, "parallel", "an integer of at least 1", parallel)
        return self._in_parallel(self.predict, iter(images), parallel)

    def predict_clip(
        self,
        frames: np.ndarray,
        forward_flow: np.ndarray | None = None,
        backward_flow: np.ndarray | None = None,
    ) -> Prediction:
        """Return the prediction of a `keras_dpn.models.SpatialTemporalDPN` for one clip.

        Args:
            frames: uint8 RGB (T, H, W, 3); T is odd for a network that predicts the
                center frame.
            forward_flow: (T-1, H, W, 2), (dx, dy) in pixels, from frame t to t+1, for a network
                that links its frames by optical flow. Without both flows, it links pixels
                at the same position.
            backward_flow: of the same shape, from frame t+1 to t.

        Returns:
            A `Prediction` with the outputs that clips have: labels, probabilities, stages.

        Raises:
            ValueError: for arrays of another shape or dtype, and if clips have none of the outputs.
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
    ) -> Iterator[Prediction | Exception]:
        """Yield the predictions of a `keras_dpn.models.SpatialTemporalDPN` for a video's frames.

        Each frame is sent with the frames around it; the video is padded with copies of its first
        and last frame.

        Args:
            frames: uint8 RGB (H, W, 3), all of one size. They are read while predictions are
                consumed.
            length: frames of a clip, odd: as many as the network was trained on.
            flow: function from two frames to the optical flow from the first to the second,
                (H, W, 2), for a network that links its frames by flow; called once in each
                direction. None links pixels at the same position.
            parallel: largest number of requests in flight.

        Yields:
            For each frame, in order, its prediction or the exception of `predict_clip`.

        Raises:
            ValueError: for a `parallel` below 1, a `length` that isn't odd, and frames and flows
                whose sizes change.
            Exception: that of `frames` or `flow`, if it fails. It and the change of a size are
                raised after the predictions of the clips before.

        Example:
            >>> dis = cv2.DISOpticalFlow.create()  # doctest: +SKIP
            >>> def flow(first, second):  # doctest: +SKIP
            ...     grey = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (first, second)]
            ...     return dis.calc(*grey, None)
            >>> for prediction in client.predict_video(frames, flow=flow):  # doctest: +SKIP
            ...     print(prediction.labels.shape)
        """
        check(parallel >= 1, "parallel", "an integer of at least 1", parallel)
        check(length >= 1 and length % 2 == 1, "length", "an odd integer", length)
        return self._in_parallel(self._predict_center, clips(frames, length, flow), parallel)

    def versions(self) -> dict[int, str]:
        """Return the state of each version of the model on the server.

        A version that is "AVAILABLE" accepts requests.

        Raises:
            ServingError: if the server can't be reached in time, or has no such model.
        """
        return self._repeated("versions", self._transport.versions)

    def close(self) -> None:
        """Close the connections. Later requests over gRPC are ServingErrors."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _in_parallel(
        self, predict: Callable[[Any], Prediction], items: Iterator[Any], parallel: int
    ) -> Iterator[Prediction | Exception]:
        def call(item: Any) -> Prediction | Exception:
            try:
                return predict(item)
            except (ServingError, OSError, ValueError) as error:
                return error

        return in_parallel(call, items, parallel)

    def _predict_clip(self, inputs: Clip) -> Prediction:
        outputs = [x for name in OUTPUTS_OF_CLIPS if name in self.outputs for x in OUTPUTS[name]]
        check(bool(outputs), "outputs", f"one of {list(OUTPUTS_OF_CLIPS)} for clips", self.outputs)
        inputs = checked_clip(inputs)
        signature = "clip" if len(inputs) == 1 else "clip_with_flow"
        name = f"a clip of shape {inputs['frames'].shape}"
        return self._request(name, Request(signature, inputs, outputs), inputs["frames"].shape)

    def _predict_center(self, inputs: Clip) -> Prediction:
        """Return the prediction for the center frame, also if the network predicts all frames."""
        prediction, length = self._predict_clip(inputs), len(inputs["frames"])
        ranks = {"labels": 2, "probabilities": 3, "stage_labels": 3, "stage_confidences": 3}
        maps = {name: getattr(prediction, name) for name in ranks}
        center = {
            name: x.take(length // 2, axis=1 if name.startswith("stage") else 0)
            for name, x in maps.items()
            if x is not None and x.ndim > ranks[name]
        }
        return dataclasses.replace(prediction, **center)

    def _request(
        self, name: str, request: Request, frames: tuple[int, ...] | None = None
    ) -> Prediction:
        def call(seconds: float) -> Prediction:
            row = self._transport.predict(request, seconds)
            return check_response(lambda: prediction_of(row, frames))

        return self._repeated(name, call)

    def _repeated(self, name: str, call: Callable[[float], T]) -> T:
        """Call with the remaining seconds, and repeat after errors that may be temporary."""
        end = time.monotonic() + self.deadline
        attempt = 0
        while True:
            attempt += 1
            left = max(end - time.monotonic(), 1e-3)
            try:
                return call(min(self.timeout, left, LONGEST_ATTEMPT))
            except ServingError as error:
                wait = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1)
                late = time.monotonic() + wait >= end
                if late or attempt == self.attempts or error.status not in REPEATABLE:
                    tries = f" ({attempt} attempts)" if attempt > 1 else ""
                    message = f"{name}: {error.status}{tries}: {error}"
                    raise ServingError(message, error.status) from error
            time.sleep(wait)
