"""The port of the viewer's page, on 127.0.0.1 only."""

import socket

from spiking_wm.core.errors import UserError

ADDRESS = "127.0.0.1"
_LAST = 65535


def check_number(port: int) -> None:
    """Check the number of a port; 0 is any free one.

    Raises:
        UserError: if there is no such port.
    """
    if not 0 <= port <= _LAST:
        raise UserError(f"viewer_port:={port} is outside 0..{_LAST} (0: any free port)")


def listening(port: int) -> socket.socket:
    """A socket that listens on a port of `ADDRESS`; port 0 is any free one.

    Raises:
        UserError: if there is no such port, or it is in use or not allowed.
    """
    check_number(port)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen()
    except OSError as error:
        listener.close()
        reason = f"port {port} of {ADDRESS} cannot be used ({error.strerror})"
        raise UserError(f"{reason}: give another viewer_port:=") from None
    return listener
