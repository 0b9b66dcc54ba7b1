import asyncio
import os

import pytest

from training.demo.uploads import UploadLimit, Uploads


@pytest.fixture
def uploads(tmp_path):
    (tmp_path / "up").mkdir()
    return Uploads(tmp_path / "up", max_files=3, max_bytes=100, max_age=60)


def put(uploads, name, content=b"x", age=0.0):
    path = uploads.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


def test_only_files_of_the_folder_are_removed(uploads, tmp_path):
    (precious := tmp_path / "precious.png").touch()
    (uploads.folder / "link.png").symlink_to(precious)
    for path in (
        precious,
        uploads.folder / ".." / "precious.png",
        uploads.folder / "link.png",
        uploads.folder / "missing.png",
        uploads.folder,
        uploads.folder / "a\0b",
        uploads.folder / ("a" * 5000),
    ):
        assert not uploads.owns(path)
        uploads.remove(path)
    assert precious.exists()
    assert uploads.owns(path := put(uploads, "deep/x.png"))
    uploads.remove(path)
    assert not path.exists()


def test_files_are_limited_in_number_bytes_and_age(uploads):
    assert uploads.has_room(100) and not uploads.has_room(101)
    old = put(uploads, "a/old", bytes(90), age=61)
    new = put(uploads, "a/new", bytes(60))
    assert uploads.has_room(40) and not uploads.has_room(41)
    assert not old.exists() and new.exists()
    put(uploads, "b")
    assert uploads.has_room(1)
    put(uploads, "c")
    assert not uploads.has_room(1)


def ask(app, length, path="/gradio_api/upload", others=(), method="POST"):
    """Return the status of a request that declares its length."""
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    headers += others
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("no byte of it is read")

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]


def test_requests_beyond_the_limits_are_refused_unread(uploads):
    nested = []

    async def app(scope, receive, send):
        if nested:  # while this upload runs
            inner = []

            async def keep(message):
                inner.append(message)

            await limit({**scope, "headers": [(b"content-length", b"1")]}, receive, keep)
            nested[0] = inner[0]["status"]
        await send({"type": "http.response.start", "status": 200})

    limit = UploadLimit(app, uploads, max_bytes=50, max_at_once=1)
    assert ask(limit, 50) == 200
    assert ask(limit, 51) == 413
    assert ask(limit, None) == ask(limit, "1e3") == ask(limit, -1) == 411
    join, chunked = "/gradio_api/queue/join", [(b"transfer-encoding", b"chunked")]
    assert ask(limit, None, path=join) == ask(limit, 2**20, path=join) == 200
    assert ask(limit, 2**20 + 1, path=join) == ask(limit, "9" * 5000) == 413
    assert ask(limit, 9, others=chunked) == ask(limit, None, path=join, others=chunked) == 411
    assert ask(limit, None, path="/config", method="GET") == 200
    put(uploads, "a", bytes(60))
    assert ask(limit, 41) == 503
    nested.append(None)
    assert ask(limit, 1) == 200
    assert nested == [503]
