import pytest
import tyro

from training.cli.options import Inference, InferenceOptions, Models, Runs


def test_runs_are_named_without_an_option():
    def command(runs: Runs, /, *, seed: int = 0):
        return runs, seed

    assert tyro.cli(command, args=["a", "b", "--seed", "1"]) == (("a", "b"), 1)
    assert tyro.cli(command, args=[]) == ((), 0)


def test_what_is_required_says_so(capsys):
    def command(runs: Runs, /, *, model: Models):
        return runs, model

    with pytest.raises(SystemExit):
        tyro.cli(command, args=["--help"])
    out = capsys.readouterr().out
    assert "(required)" in out and "(required, repeatable)" in out and "(default: )" not in out


def test_each_model_has_an_option_of_its_own():
    def command(images: tyro.conf.Positional[tuple[str, ...]], *, model: Models):
        return images, model

    args = ["--model", "dpn_scenes", "--model", "hf://org/name", "x.png", "y.png"]
    assert tyro.cli(command, args=args) == (("x.png", "y.png"), ("dpn_scenes", "hf://org/name"))


def test_inference_options_become_settings():
    def command(inference: Inference = InferenceOptions(memory_gib=4.0)):
        return inference

    options = tyro.cli(command, args=["--scales", "0.5", "1", "--horizontal-flip"])
    settings = options.settings()
    assert settings.scales == (0.5, 1.0) and settings.horizontal_flip
    assert settings.memory_gib == 4.0 and settings.tile is None
    assert options.crf_settings() is None


def test_a_crf_file_is_read_and_checked(tmp_path):
    (path := tmp_path / "crf.json").write_text('{"num_iterations": 2}')
    assert InferenceOptions(crf=path).crf_settings() == {"num_iterations": 2}
    path.write_text('{"iterations": 2}')
    with pytest.raises(ValueError, match=r"crf\.json: .*iterations"):
        InferenceOptions(crf=path).crf_settings()
