import re

import jinja2
import pytest

from training.reporting.rendering import Cell, Row, Table, render

PAGE = {"title": "x", "subtitle": "", "sections": []}


def table(**values):
    return render("score_tables", title="t", text="", tables=[Table(**values)])


def test_text_is_escaped_everywhere():
    evil = "<script>alert(1)</script> & \"'"
    text = render("page", title=evil, subtitle=evil, sections=[])
    text += table(
        head=[evil], groups=[[Row(evil, [evil, Cell(evil, evil, "up")], evil)]], note=evil
    )
    assert "<script" not in text and "alert(1)</script>" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;&#39;") == 3 + 7


def test_sections_are_not_escaped_again():
    section = render("facts", facts={"a & b": "1"})
    page = render("page", **PAGE | {"sections": [section, section]})
    assert page.count("<b>1</b><span>a &amp; b</span>") == 2


def test_a_value_that_a_template_lacks_is_a_mistake():
    with pytest.raises(jinja2.UndefinedError, match="'facts' is undefined"):
        render("facts")


def test_table_leaves_out_empty_groups_heads_and_notes():
    row = Row("x", ["1", Cell("2", "+1", "up")])
    text = table(head=["", "a"], groups=[[row], []])
    assert text.count("<tbody>") == 1 and "<th>a</th>" in text
    assert '<td>2 <small><span class="up">+1</span></small></td>' in text
    assert "thead" not in table(head=[], groups=[[row]])
    assert "note" in table(head=[], groups=[[row]], note="note") and text.count("quiet") == 1


def test_tabs_show_the_first_panel_and_name_it():
    class Panel:
        summary, sections = "one", ()

    text = render("panels", panels=[("<a>", Panel), ("b", Panel)])
    assert text.count('type="radio" name="runs"') == 2 and text.count(" checked") == 1
    assert re.search(r'<label for="runs-1">b</label>\s*<div class="panel"><h3>b</h3>', text)
    assert "&lt;a&gt;</label>" in text


def test_styles_are_inside_the_page():
    assert "prefers-color-scheme: dark" in render("page", **PAGE)
