import warnings

import pytest

from keras_dpn.deprecation import renamed_argument, warn_renamed


def test_the_warning_names_both_and_the_callers_line():
    def old():
        warn_renamed("old", "new")

    with pytest.warns(DeprecationWarning, match="`old` is deprecated .* Use `new`") as caught:
        old()
    assert caught[0].filename == __file__


@renamed_argument("stage", "head")
def name_of(head, suffix=""):
    return head + suffix


def test_an_argument_keeps_its_old_name():
    with pytest.warns(DeprecationWarning, match="`stage=` .* Use `head=`") as caught:
        assert name_of(stage="unary", suffix="+crf") == "unary+crf"
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert name_of("unary") == name_of(head="unary") == "unary"


def test_both_names_at_once_are_refused():
    with pytest.raises(TypeError, match="both `head` and its old name `stage`"):
        name_of(head="unary", stage="unary")
