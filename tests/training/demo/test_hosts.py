import asyncio
import socket

import pytest

from training.demo.hosts import HostCheck


def ask(hosts, allowed=("demo.example.org",)):
    """Return the status of a request, 200 if it is passed on."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    headers = [(b"host", host.encode()) for host in hosts]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(HostCheck(app, allowed)(scope, None, send))
    return sent[0]["status"]


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:7860", "127.0.0.1:7860", "192.168.0.9", "[::1]:7860", "[::1]"),
        *("demo.example.org", "demo.example.org.", "Demo.example.org:80", socket.gethostname()),
    ],
)
def test_this_machines_names_are_answered(host):
    assert ask([host]) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        *(["evil.example"], ["evil.example:7860"], ["127.0.0.1.evil.example"], [""], []),
        *(["localhost.evil.example"], ["localhost", "evil.example"], ["localhost@evil.example"]),
        *(["xdemo.example.org"], [":7860"], ["127.0.0.1:80:80"]),
    ],
)
def test_other_names_are_refused(hosts):
    assert ask(hosts) == 400
