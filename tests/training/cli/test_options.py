import tyro

from training.cli.options import Models, Sources


def test_each_source_has_an_option_of_its_own():
    def script(pictures: tyro.conf.Positional[tuple[str, ...]], *, work_dir: Sources = ()):
        return pictures, work_dir

    found = tyro.cli(script, args=["--work-dir", "a", "--work-dir", "b", "x.png", "y.png"])
    assert found == (("x.png", "y.png"), ("a", "b"))


def test_models_have_two_names():
    def script(pictures: tyro.conf.Positional[tuple[str, ...]], *, model: Models):
        return pictures, model

    args = ["x.png", "--model", "dpn_scenes", "--work-dir", "runs/a", "--model", "hf://org/name"]
    assert tyro.cli(script, args=args) == (("x.png",), ("dpn_scenes", "runs/a", "hf://org/name"))
    assert tyro.cli(script, args=["x.png"]) == (("x.png",), ())
