"""The web server of the page, on 127.0.0.1 only."""

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spiking_wm_ros.viewer.port import ADDRESS, listening

_HOSTS = ["127.0.0.1", "localhost"]  # host names that are served
_UNFRAMED = (b"content-security-policy", b"frame-ancestors 'none'")


class OwnOriginOnly:
    """Rejects requests of other web pages, and prevents that they show this page in a frame.

    The page can stop and resume a robot, so no other page may call it.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or answer 403."""
        headers = dict(scope.get("headers", ()))
        origin, host = (headers.get(name, b"").decode() for name in (b"origin", b"host"))
        if scope["type"] in ("http", "websocket") and origin and urlsplit(origin).netloc != host:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"only for pages of this server"})
            return

        async def send_unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _UNFRAMED]
            await send(message)

        await self._app(scope, receive, send_unframed)


class Server:
    """A thread that serves a NiceGUI page.

    Args:
        port: port on 127.0.0.1.
        title: title of the page.
        build: builds the page for a visitor.

    Raises:
        UserError: if the port is in use.
    """

    def __init__(self, port: int, title: str, build: Callable[[], None]):
        self._socket = listening(port)  # early connections wait until the server is up
        app = FastAPI()
        ui.run_with(app, root=build, title=title, show_welcome_message=False, reconnect_timeout=10)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)
        app.add_middleware(OwnOriginOnly)
        config = uvicorn.Config(app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """URL of the page."""
        return f"http://{ADDRESS}:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """End the server."""
        self._server.should_exit = True
        self._thread.join(3)
        self._socket.close()
