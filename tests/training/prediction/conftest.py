import logging

import pytest


@pytest.fixture
def messages(caplog):
    """What the commands log, as a list of messages when called."""
    logger = logging.getLogger("keras_dpn")
    level = logger.level
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    yield lambda: caplog.messages
    logger.removeHandler(caplog.handler)
    logger.setLevel(level)
