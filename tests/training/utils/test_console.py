from rich.table import Table

from training.utils.console import console


def test_names_are_text(capsys):
    names = ["[/bold]", "[red]x", "[link=http://a]b[/link]", "\\[bold]"]
    table = Table(*names, title="[/title]", caption="[/caption]")
    table.add_row(*names)
    output = console()
    output.width = 200
    output.print(table)
    output.print("[/text]")
    text = capsys.readouterr().out
    assert all(text.count(name) == 2 for name in names)
    assert all(f"[/{name}]" in text for name in ("title", "caption", "text"))
