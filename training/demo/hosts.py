"""Which names of the server a request may have in its Host header."""

import ipaddress
import socket
from collections.abc import Sequence

from .uploads import App, Message, Receive, Send, refuse


class HostCheck:
    """ASGI middleware that answers only requests for this machine.

    A page of another site may let its own name point here (DNS rebinding); to the browser its
    requests then go to that site, and it could read and send what a visitor can.

    Args:
        app: the page.
        allowed: names next to localhost, this machine's and any IP address.
    """

    def __init__(self, app: App, allowed: Sequence[str] = ()) -> None:
        self.app = app
        own = socket.gethostname()
        self.allowed = {name.lower() for name in ("localhost", own, f"{own}.local", *allowed)}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not self._is_allowed(hosts[0].decode("latin-1")):
                await refuse(send, 400, "Unknown host; start the demo with --allow-host NAME.")
                return
        await self.app(scope, receive, send)

    def _is_allowed(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return name.lower().rstrip(".") in self.allowed or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
