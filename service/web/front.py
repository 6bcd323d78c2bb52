"""ASGI entry: a body is read within its deadline before a thread of the WSGI app is taken for it.

A sender of a slow body holds a connection and what it has sent, and no thread. Whoever sends a
large or a slow one to a guarded route has shown its access token before more is read.
"""

import asyncio
import io
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication

from service.domain.errors import LaminaError, TooLarge, TooSlow, Unavailable

Environ = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

ASK: Final = "lamina.ask"
"""Set where the app is asked whether it would read a body at all; it answers in ADMITTED."""
ADMITTED: Final = "lamina.admitted"
COUNTED: Final = "lamina.counted"
"""Set where the app was asked before, which has counted the request against its limits."""
GUARDED: Final = "guarded"
PUBLIC: Final = "public"
BODY: Final = "lamina.body"
"""Holds the body as it was read; the stream of WSGI would make two more copies of it."""
REFUSED: Final = "lamina.refused"
"""Holds the error that the app must render instead of an answer."""

LARGEST_BODY: Final = 16 * 1024 * 1024
_SMALL: Final = 64 * 1024
_LATER: Final = 1


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a body may take.

    Args:
        prompt: Seconds after which the sender of an unfinished body must be admitted first.
        turn: Seconds that an admitted one waits for room.
        whole: Seconds for a body that brings nothing.
        rate: Bytes that buy one more second.
    """

    prompt: float = 0.25
    turn: float = 5.0
    whole: float = 10.0
    rate: int = 64 * 1024


class _Room:
    """How many bytes of unfinished and large bodies are held at most."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> None:
        """Take room, or refuse."""
        if size > self._left:
            raise _full()
        self._left -= size

    async def wait(self, size: int, seconds: float) -> None:
        """Take room in turn, or refuse after some seconds."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._serve()
        try:
            await asyncio.wait_for(turn, seconds)
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():
                self.leave(size)
            self._serve()
            if isinstance(error, TimeoutError):
                raise _full() from None
            raise

    def leave(self, size: int) -> None:
        """Give room back, and let the next in turn have it."""
        self._left += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled() and size > self._left:
                return
            self._waiting.popleft()
            if not turn.cancelled():
                self._left -= size
                turn.set_result(None)


def _full() -> Unavailable:
    return Unavailable("overloaded", "Too many bodies are being sent at once.", _LATER)


class _Gone(Exception):
    """The client left before it had sent its request."""


class _Turned(Exception):
    """The app answers without the body."""

    def __init__(self, answer: "_Answer") -> None:
        super().__init__()
        self.answer = answer


@dataclass(slots=True)
class _Answer:
    """What the app answered."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class _Body:
    """A body on its way in."""

    content: io.BytesIO = field(default_factory=io.BytesIO, repr=False)
    size: int = 0
    most: int = LARGEST_BODY
    whole: bool = False
    room: _Room | None = None
    taken: int = 0

    def add(self, chunk: bytes) -> None:
        """Keep a chunk, where there is room for it."""
        size = self.size + len(chunk)
        if size > self.most:
            raise too_large(self.most)
        if self.room is not None and size > self.taken:
            self.room.take(size - self.taken)
            self.taken = size
        self.size = size
        self.content.write(chunk)

    async def move(self, room: _Room, size: int, seconds: float) -> None:
        """Count what was kept, and what follows, in a room.

        Args:
            room: That of the admitted.
            size: What is taken at once; more is taken as it comes.
            seconds: How long to wait for it; nothing is read meanwhile.
        """
        await room.wait(size, seconds)
        self.room, self.taken = room, size

    def leave(self) -> None:
        """Give the room back."""
        if self.room is not None:
            self.room.leave(self.taken)
            self.room = None


class _Feed:
    """The chunks of a body, one after the other."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._next: asyncio.Future[Mapping[str, Any]] | None = None

    async def take(self, body: _Body, seconds: float) -> bool:
        """Keep the chunk that comes within some seconds; tell whether one did."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._receive())
        done, _ = await asyncio.wait({self._next}, timeout=max(seconds, 0.0))
        if not done:
            return False
        message, self._next = self._next.result(), None
        if message["type"] != "http.request":
            raise _Gone
        body.add(message.get("body", b""))
        body.whole = not message.get("more_body", False)
        return True

    def end(self) -> None:
        """Wait for nothing more."""
        if self._next is not None:
            self._next.cancel()


def too_large(most: int) -> TooLarge:
    """Return the refusal of a body above a limit."""
    return TooLarge("body_too_large", f"The body must have at most {most} bytes.")


class Front:
    """The ASGI app over a WSGI app.

    Args:
        app: The WSGI app; it knows of `ASK` and `REFUSED`.
        threads: How many requests it answers at once.
        deadlines: How long a body may take.
        guarded: Bytes of unfinished and large bodies of admitted callers that are held; others
            wait for their turn.
        public: The same for routes that need no token, counted as they come.
    """

    def __init__(
        self,
        app: WSGIApplication,
        threads: int = 32,
        deadlines: Deadlines | None = None,
        guarded: int = LARGEST_BODY,
        public: int = 8 * 1024 * 1024,
    ) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, "lamina")
        self._deadlines = deadlines or Deadlines()
        self._rooms = {GUARDED: _Room(guarded), PUBLIC: _Room(public)}
        # Hundreds of slow senders are asked about at once: whole requests do not wait for them.
        few = max(1, threads // 8)
        self._asking = {late: asyncio.Semaphore(few) for late in (True, False)}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        environ = _environ(scope)
        body = _Body(whole=not _has_body(environ))
        try:
            if not body.whole:
                await self._read(environ, body, receive)
            answer = await self._answer(environ, body)
        except _Gone:
            return
        except _Turned as turned:
            answer = turned.answer
        except LaminaError as error:
            answer = await self._answer(environ | {REFUSED: error}, _Body())
        finally:
            body.leave()
        if not body.whole:
            # What was not read must not be taken for the next request.
            answer.headers.append(("Connection", "close"))
        await _send(answer, send)

    def close(self) -> None:
        """End the threads once they have answered what they have."""
        self._pool.shutdown()

    async def _read(self, environ: Environ, body: _Body, receive: Receive) -> None:
        declared = int(environ.get("CONTENT_LENGTH") or LARGEST_BODY)
        if declared > LARGEST_BODY:
            raise too_large(LARGEST_BODY)
        loop, limits = asyncio.get_running_loop(), self._deadlines
        begun = loop.time()
        feed = _Feed(receive)
        try:
            if declared <= _SMALL:
                while await feed.take(body, begun + limits.prompt - loop.time()):
                    if body.whole:
                        return
            room, body.most = await self._admit(environ, late=declared <= _SMALL)
            # Who showed a token has room for all of it; who did not, for what is sent.
            size = min(declared, body.most) if room == GUARDED else body.size
            await body.move(self._rooms[room], size, limits.turn)
            begun = loop.time()
            while not body.whole:
                left = begun + limits.whole + body.size / limits.rate - loop.time()
                if not await feed.take(body, left):
                    raise TooSlow("body_too_slow", "The body did not arrive in time.")
        finally:
            feed.end()

    async def _admit(self, environ: Environ, *, late: bool) -> tuple[str, int]:
        """Return in which room the body is counted, and how large it may be.

        Args:
            environ: The request.
            late: Whether its small body has not come in time; a large one, which may be prompt,
                does not wait behind those.
        """
        asked = environ | {ASK: True}
        turn = self._asking[late]
        try:
            await asyncio.wait_for(turn.acquire(), self._deadlines.turn)
        except TimeoutError:
            raise _full() from None
        try:
            answer = await self._answer(asked, _Body())
        finally:
            turn.release()
        if ADMITTED not in asked:
            raise _Turned(answer)
        environ[COUNTED] = True
        room, most = asked[ADMITTED]
        return room, most

    async def _answer(self, environ: Environ, body: _Body) -> _Answer:
        if ASK not in environ:
            # The body is whole by now, however it was framed on the way.
            environ["CONTENT_LENGTH"] = str(body.size)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        body.content.seek(0)
        environ["wsgi.input"] = environ[BODY] = body.content
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, _call, self._app, environ
        )


def _has_body(environ: Environ) -> bool:
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _call(app: WSGIApplication, environ: Environ) -> _Answer:
    answer = _Answer()

    def start(status: str, headers: list[tuple[str, str]], _exc: object = None) -> Any:  # noqa: ANN401 - nothing writes
        answer.status, answer.headers = int(status[:3]), list(headers)
        return None

    parts = app(environ, start)
    try:
        answer.body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    return answer


async def _send(answer: _Answer, send: Send) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _environ(scope: Mapping[str, Any]) -> Environ:
    """Return the request as PEP 3333 has it, without a body yet."""
    raw = scope.get("raw_path") or str(scope["path"]).encode()
    host, port = (*(scope.get("server") or ("", 0)), 0)[:2]
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
        "QUERY_STRING": bytes(scope["query_string"]).decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        _header(environ, name.decode("latin-1"), value.decode("latin-1"))
    return environ


def _header(environ: Environ, name: str, value: str) -> None:
    if "_" in name:
        # CGI gives X_Forwarded_For the name of X-Forwarded-For, which only a proxy may set.
        return
    key = name.upper().replace("-", "_")
    if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        key = f"HTTP_{key}"
        value = f"{environ[key]},{value}" if key in environ else value
    environ[key] = value
