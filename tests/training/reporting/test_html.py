import base64

import numpy as np

from keras_dpn import viz
from training.reporting import html

IMAGE = np.full((1, 2, 3), 7, "uint8")


def test_names_are_shown_not_obeyed():
    assert "<th>&lt;b&gt;</th><td>1</td>" in html.row("<b>", ["1"])
    assert "&lt;b&gt;" in html.color_key([("<b>", (1, 2, 3))])
    assert 'alt="&quot;&gt;"' in html.image(IMAGE, '">')
    assert "<h2>a &amp; b</h2>" in html.section("a & b", "")
    assert "<title>&lt;x&gt;</title>" in html.page("<x>", "", [])


def test_image_holds_the_png():
    data = base64.b64encode(viz.image_png(IMAGE)).decode()
    assert f'src="data:image/png;base64,{data}"' in html.image(IMAGE, "x")
    assert html.image(viz.image_png(IMAGE), "x") == html.image(IMAGE, "x")


def test_tabs_show_the_first_panel_and_name_it():
    text = html.tabs("which", [("<a>", "one"), ("b", "two")], "group")
    assert text.count('type="radio" name="group"') == 2 and text.count(" checked") == 1
    assert '<label for="group-1">b</label><div class="panel"><h3>b</h3>two</div>' in text
    assert "&lt;a&gt;</label>" in text


def test_table_leaves_out_empty_groups_and_heads():
    table = html.table(["", "a"], [[html.row("x", ["1"])], []])
    assert table.count("<tbody>") == 1
    assert "<th>a</th>" in table
    assert "thead" not in html.table([], [[html.row("x", ["1"])]])


def test_page_keeps_dollar_signs_and_leaves_out_empty_sections():
    page = html.page("x", "", [html.section("one", "costs $body"), "", html.section("two", "")])
    assert "costs $body" in page
    assert page.index("one") < page.index("two")
