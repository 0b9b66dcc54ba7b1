from training.cli import main
from training.configs.recipes import INFO


def test_all_recipes_are_listed(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(INFO)
    assert all(recipe.title in line for line, recipe in zip(lines[1:], INFO.values(), strict=True))


def test_one_is_explained_with_its_command(capsys):
    assert main(["recipes", "dpn/scenes"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("dpn/scenes: ") and "stage     unary: 10 epochs" in text
    assert text.endswith("keras-dpn train dpn/scenes --work-dir RUN\n")


def test_an_unknown_one_gets_the_nearest_name(capsys):
    assert main(["recipes", "dpn/scene"]) == 2
    assert "did you mean dpn/scenes?" in capsys.readouterr().err
