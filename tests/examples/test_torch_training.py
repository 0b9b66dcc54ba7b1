import re
from pathlib import Path

import keras
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-torch")
if keras.backend.backend() != "torch":
    pytest.skip("needs KERAS_BACKEND=torch: make test-torch", allow_module_level=True)

from examples.torch_training import (  # noqa: E402
    FIELDS,
    IGNORE,
    NUM_CLASSES,
    FieldBehind,
    SmallNetwork,
    make_images,
    train,
)


def make_model(name):
    torch.manual_seed(0)
    return FieldBehind(SmallNetwork(width=4), FIELDS[name](), NUM_CLASSES)


def test_images_and_labels():
    images, labels = make_images(2, size=12)
    assert images.shape == (2, 3, 12, 12)
    assert images.min() >= 0 and images.max() <= 255
    assert set(labels.unique().tolist()) == {0, 1, 2, IGNORE}


@pytest.mark.parametrize("name", FIELDS)
def test_the_loss_falls_and_every_weight_is_trained(name):
    model = make_model(name)
    before = {key: value.clone() for key, value in model.named_parameters()}
    assert len([key for key in before if key.startswith("field.")]) > 0 or name == "none"
    losses = train(model, *make_images(4, size=12), steps=12, batch_size=4)
    assert losses[-1] < 0.8 * losses[0]
    for key, value in model.named_parameters():
        if value.requires_grad:
            assert value.grad is not None and value.grad.abs().sum() > 0, key
            assert (value != before[key]).any(), key


@pytest.mark.parametrize("name", ["MeanFieldCRF", "DeepParsingField"])
def test_the_state_is_saved_and_loaded(name, tmp_path):
    images, labels = make_images(4, size=12)
    model = make_model(name)
    train(model, images, labels, steps=1, batch_size=4)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = make_model(name)
    model.eval(), other.eval()
    with torch.no_grad():
        assert not torch.equal(model(images), other(images))
        other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
        assert torch.equal(model(images), other(images))


@pytest.mark.parametrize("name", ["MeanFieldCRF", "DeepParsingField"])
def test_the_field_changes_the_logits_of_its_network(name):
    images, _ = make_images(1, size=12)
    model = make_model(name).eval()
    with torch.no_grad():
        alone = model.network((images - model.mean) / model.std)["out"]
        assert model(images).shape == alone.shape
        assert not torch.allclose(model(images), alone, atol=0.01)


def test_the_guide_trains_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs/guides/networks.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(next(block for block in blocks if "import torch" in block), names)
    assert names["loss"].isfinite()
    assert "crf._torch_params.crf/compatibility" in torch.load("refined.pt", weights_only=True)
