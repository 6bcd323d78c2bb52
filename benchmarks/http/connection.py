"""A keep-alive connection of HTTP/1.1 that costs a load client little, to loopback alone."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

_END: Final = b"\r\n\r\n"
_CHUNK: Final = 65_536
_PATIENCE: Final = 60.0
_JSON: Final = {"Content-Type": "application/json"}
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class Broken(OSError):
    """The other side closed the connection, or sent what is no answer of HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: status, head as it was sent, and body."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - answers of any service
        """Return the body as JSON; raises ValueError."""
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """Return a header, or an empty string."""
        return next(iter(self.headers(name)), "")

    def headers(self, name: str) -> list[str]:
        """Return every header of a name, such as Set-Cookie."""
        start = f"{name.lower()}:".encode()
        lines = self.head.split(b"\r\n")[1:]
        return [
            line[len(start) :].strip().decode("latin-1")
            for line in lines
            if line[: len(start)].lower() == start
        ]

    def cookies(self) -> dict[str, str]:
        """Return the cookies that the answer sets."""
        pairs = (value.partition(";")[0].partition("=") for value in self.headers("Set-Cookie"))
        return {name.strip(): value for name, _, value in pairs}


class Connection:
    """A connection that stays open between requests.

    Args:
        port: Port on 127.0.0.1.
        source: The address that the other side sees, of 127.0.0.0/8.

    Attributes:
        headers: Sent with every request.
        state: What a target stores between requests on this connection.
    """

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.port = port
        self.source = source
        self.headers: dict[str, str] = {}
        self.state: dict[str, Any] = {}
        self._socket: socket.socket | None = None
        self._rest = b""

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET request."""
        return self.request("GET", path, b"", headers)

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a POST request with a body of JSON."""
        content = json.dumps(body, separators=(",", ":")).encode()
        return self.request("POST", path, content, _JSON | dict(headers or {}))

    def form(
        self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a POST request with a form."""
        return self.request("POST", path, urlencode(fields).encode(), _FORM | dict(headers or {}))

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and return its answer; raises Broken and OSError."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{self.port}"]
        sent = {**self.headers, **(headers or {})}
        lines += [f"{name}: {value}" for name, value in sent.items()]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        opened = self._socket or self._open()
        try:
            opened.sendall("\r\n".join(lines).encode("latin-1") + _END + body)
            return self._answer(method)
        except OSError:
            # The rest of a broken answer must not be read as the next one.
            self.close()
            raise

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._rest = b""

    def _open(self) -> socket.socket:
        self._socket = socket.create_connection(
            ("127.0.0.1", self.port), _PATIENCE, source_address=(self.source, 0)
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _answer(self, method: str) -> Answer:
        while True:
            head = self._until(_END)
            try:
                status = int(head[9:12])
            except ValueError:
                raise Broken("no status line") from None
            if status >= 200:  # noqa: PLR2004 - 1xx precede the answer
                break
        answer = Answer(status, head, b"")
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif answer.header("Transfer-Encoding").lower() == "chunked":
            body = self._chunks()
        else:
            body = self._take(int(answer.header("Content-Length") or 0))
        if answer.header("Connection").lower() == "close":
            self.close()
        return Answer(status, head, body)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            parts.append(self._take(size))
            self._until(b"\r\n")
        while self._until(b"\r\n"):
            pass
        return b"".join(parts)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._receive()
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._receive()
        found = self._rest[:size]
        self._rest = self._rest[size:]
        return found

    def _receive(self) -> None:
        if self._socket is None:
            raise Broken("not connected")
        more = self._socket.recv(_CHUNK)
        if not more:
            raise Broken("closed by the other side")
        self._rest += more
