"""Exports the model of a training run for production.

python -m training.export --model runs/street --out saved_models/street --check street.jpg

A SavedModel for TensorFlow Serving by default; `--formats saved_model litert onnx` writes files for
phones (LiteRT) and for ONNX Runtime beside it. See saved_models/README.md and docs/serving.md.
"""

from pathlib import Path
from typing import Literal

from keras_dpn.export.saved_model import MAX_PIXELS

from ..export.exporter import Format, Output
from .options import Model


def main(
    *,
    model: Model,
    out: Path,
    formats: tuple[Format, ...] = ("saved_model",),
    outputs: tuple[Output, ...] = ("labels",),
    version: int | None = None,
    keep: int | None = None,
    image_size: tuple[int, int] | None = None,
    longest_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    precision: Literal["float16", "bfloat16"] | None = None,
    jit_compile: bool = False,
    representative: Path | None = None,
    check: Path | None = None,
) -> None:
    """Writes a trained model to the next version, `<out>/<number>/`, and to files beside it.

    Args:
        model: a preset, as dpn_camvid, or the directory of the training run.
        out: directory of the exported model, for example saved_models/street.
        formats: saved_model, `<out>/<number>/` for TensorFlow Serving; litert, `<out>/model.tflite`
            for phones, or litert_float16, litert_dynamic, litert_int8 with smaller weights; onnx,
            `<out>/model.onnx`. The files are overwritten.
        outputs: what the SavedModel answers: labels, probabilities, overlay, label_png, classes,
            stages.
        version: the number; one more than the highest there if not given.
        keep: how many older versions stay; all if not given.
        image_size: height and width to which pictures are resized; the graph has this fixed size.
        longest_side: of the SavedModel: pictures with a longer side than this are shrunk to it.
        max_pixels: of the SavedModel: the most that a picture may have.
        precision: of the SavedModel: float16 or bfloat16.
        jit_compile: of the SavedModel: whether XLA compiles the model.
        representative: for litert_int8, a folder of pictures as the device will see them; the
            first hundred are looked at.
        check: a picture: loads the exports without Keras and compares what each says about the
            picture with what the model says. A network for clips sees the picture move to the
            right.
    """
    from keras_dpn.export import export
    from keras_dpn.inference.loading import load_trained
    from keras_dpn.io.images import read_image
    from keras_dpn.presets.source import find

    from ..export.exporter import (
        AGREEMENT,
        ROUNDED_AGREEMENT,
        _resized,
        compare,
        describe,
        file_question,
        litert_answers,
        onnx_answers,
        questions,
        representative_pictures,
        saved_model_answers,
        write_file,
    )

    if image_size is not None and longest_side is not None:
        raise ValueError("--image-size and --longest-side: expected one of them at most.")
    if ("litert_int8" in formats) != (representative is not None):
        raise ValueError("--representative: expected a folder with litert_int8, none without.")
    image = None if check is None else read_image(check)
    pictures = None if representative is None else representative_pictures(representative)
    trained = load_trained([model])
    [network], classes = trained.models, trained.classes
    if "saved_model" in formats:
        path = export(
            network,
            out,
            version=version,
            keep=keep,
            description=describe(find(model)),
            classes=classes.to_json(),
            outputs=outputs,
            image_size=image_size or longest_side,
            max_pixels=max_pixels,
            precision=precision,
            jit_compile=jit_compile,
        )
        print(f"{path}: exported {network.name}, {_megabytes(path):.1f} MB")
        if image is not None:
            exact = precision is None and image_size is None and longest_side is None
            least = AGREEMENT["saved_model"] if exact else 0.0
            for line in compare(saved_model_answers(path), questions(network, image), path, least):
                print(line)
    for name in formats:
        if name == "saved_model":
            continue
        path = write_file(network, out, name, image_size, pictures)
        print(f"{path}: exported {network.name}, {_megabytes(path):.1f} MB")
        if image is not None:
            seen = image if image_size is None else _resized(image, image_size)
            answers = onnx_answers(path) if name == "onnx" else litert_answers(path)
            least = AGREEMENT.get(name, ROUNDED_AGREEMENT)
            for line in compare(answers, file_question(network, seen), path, least):
                print(line)


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
