"""Export a trained network for production.

    keras-dpn export --model runs/street --out saved_models/street --verify-with street.jpg

Writes a SavedModel for TensorFlow Serving, OUT/VERSION; `--formats saved_model litert onnx` also
writes files for phones (LiteRT) and for ONNX Runtime. See saved_models/README.md and
docs/serving.md.
"""

from pathlib import Path
from typing import Literal

from ..export import Format, Output


def main(
    *,
    model: str,
    out: Path,
    formats: tuple[Format, ...] = ("saved_model",),
    outputs: tuple[Output, ...] = ("labels",),
    version: int | None = None,
    keep_versions: int | None = None,
    image_size: tuple[int, int] | None = None,
    longest_side: int | None = None,
    keep_size: bool = False,
    max_pixels: int = 2**22,
    precision: Literal["float16", "bfloat16"] | None = None,
    jit_compile: bool = False,
    calibration_images: Path | None = None,
    verify_with: Path | None = None,
    force: bool = False,
) -> None:
    """Export a trained network for production.

    Args:
        model: a preset, or the directory of a training run.
        out: directory of the exported model, for example saved_models/street.
        formats: saved_model, OUT/VERSION for TensorFlow Serving; litert, OUT/model.tflite for
            phones, or litert_float16, litert_dynamic, litert_int8 with smaller weights; onnx,
            OUT/model.onnx. Files of an earlier export are replaced; versions never are.
        outputs: what the SavedModel returns: labels, always; probabilities; label_png and overlay,
            PNG files; classes, their names and colours; stages, the labels at each head.
        version: number of the version; by default one more than the highest in OUT.
        keep_versions: keep only the N newest of the older versions; by default all.
        image_size: height and width to which images are resized; the graph has this fixed size.
        longest_side: the SavedModel downsamples images with a longer side to this one, in pixels.
        keep_size: the SavedModel labels images at their own size. By default it resizes them to the
            size that the network was trained on, if its preset names one, as `keras-dpn predict`.
        max_pixels: the SavedModel refuses images with more pixels.
        precision: dtype of the SavedModel's weights and features; by default float32.
        jit_compile: let XLA compile the SavedModel, again for each image size.
        calibration_images: for litert_int8, a folder of images like those on the device, of which
            the first hundred are used.
        verify_with: an image: load the exports without Keras and compare what each of them
            predicts for the image with what the network predicts. A network for clips sees the
            image move to the right.
        force: also replace files such as model.tflite that this command did not write.
    """
    from keras_dpn import Segmenter
    from keras_dpn.export import export
    from keras_dpn.export.arguments import frame_shape
    from keras_dpn.inference.loading import load_trained
    from keras_dpn.io.images import read_image
    from keras_dpn.models import traits
    from keras_dpn.presets.source import find

    from ..export.exporter import describe, export_file, file_of, read_calibration_images
    from ..export.verification import resize, verify_file, verify_saved_model
    from ..rundir.outputs import writing

    if not formats:
        raise ValueError("--formats: expected one or more, received none.")
    if (image_size is not None) + (longest_side is not None) + keep_size > 1:
        raise ValueError(
            "--image-size, --longest-side and --keep-size: expected at most one of them."
        )
    if ("litert_int8" in formats) != (calibration_images is not None):
        raise ValueError("--calibration-images: expected a folder with litert_int8, none without.")
    image = None if verify_with is None else read_image(verify_with)
    calibration = None
    if calibration_images is not None:
        calibration = read_calibration_images(calibration_images)
    targets = [file_of(out, name) for name in formats if name != "saved_model"]
    with writing(out, "export", force=force) as files:
        files.check(targets)
        trained = load_trained([model])
        [network], classes = trained.models, trained.classes
        size = None if image_size or longest_side or keep_size else trained.size
        height, width = frame_shape(network)[-3:-1]
        if height is not None and width is not None:  # the only size that the network takes
            size = None
            image = None if image is None else resize(image, (height, width))
        if "saved_model" in formats:
            path = export(
                network,
                out,
                version=version,
                keep=keep_versions,
                description=describe(find(model)),
                classes=classes.to_json(),
                outputs=outputs,
                image_size=image_size or longest_side,
                shorter_side=size,
                max_pixels=max_pixels,
                precision=precision,
                jit_compile=jit_compile,
            )
            print(f"{path}: exported {network.name}, {_megabytes(path):.1f} MB")
            if image is not None:
                is_exact = precision is None and (image_size or longest_side or size) is None
                takes_images = traits(network).clip_frames is None
                is_resized = size is not None and takes_images
                expected = Segmenter(network, classes, size=size) if is_resized else None
                for line in verify_saved_model(path, network, image, expected, is_exact=is_exact):
                    print(line)
        for name in formats:
            if name == "saved_model":
                continue
            path = export_file(network, out, name, image_size, calibration)
            files.record(path)
            print(f"{path}: exported {network.name}, {_megabytes(path):.1f} MB")
            if size is not None:
                print(f"{path}: resize images to a shorter side of {size} pixels first")
            if image is not None:
                for line in verify_file(path, name, network, image, image_size):
                    print(line)


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
