"""ASGI entry point: reads a body within its deadline before a WSGI thread is used for it.

A slow sender holds a connection and the bytes sent so far, but no thread. The sender of a large
or slow body to an authorized route is authorized before more of it is read.
"""

import asyncio
import io
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from service.domain.errors import LaminaError, TooLarge, TooSlow, Unavailable
from service.web.queues import Event, Gone, Queues, Receive

Environ = WSGIEnvironment
Send = Callable[[Event], Awaitable[None]]

ASK: Final = "lamina.ask"
"""Set to ask the app whether it would read the body; it responds in ADMITTED."""
ADMITTED: Final = "lamina.admitted"
COUNTED: Final = "lamina.counted"
"""Set if the app was asked before and has counted the request against its limits."""
GUARDED: Final = "guarded"
PUBLIC: Final = "public"
BODY: Final = "lamina.body"
"""Holds the body as read; the stream of WSGI would make two more copies of it."""
REFUSED: Final = "lamina.refused"
"""Holds the error that the app must render as the response."""

LARGEST_BODY: Final = 16 * 1024 * 1024
_SMALL: Final = 64 * 1024
_LATER: Final = 1


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The deadlines of a body.

    Args:
        prompt: Seconds after which an unfinished body must be admitted.
        turn: Seconds that an admitted one waits for buffer space.
        whole: Seconds for a body of any size.
        rate: Bytes per additional second.
    """

    prompt: float = 0.25
    turn: float = 5.0
    whole: float = 10.0
    rate: int = 64 * 1024


class _Room:
    """Limits the bytes of unfinished and large bodies in memory."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> None:
        """Reserve space, or raise Unavailable."""
        if size > self._left:
            raise _full()
        self._left -= size

    async def wait(self, size: int, seconds: float) -> None:
        """Reserve space in order of arrival; raises Unavailable after some seconds."""
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
        """Release space, and give it to those waiting."""
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


class _Turned(Exception):
    """The app responds without the body."""

    def __init__(self, answer: "_Answer") -> None:
        super().__init__()
        self.answer = answer


@dataclass(slots=True)
class _Answer:
    """The response of the app."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = field(default=b"", repr=False)


@dataclass(kw_only=True, slots=True)
class _Body:
    """A body that is being received."""

    content: io.BytesIO = field(default_factory=io.BytesIO, repr=False)
    size: int = 0
    most: int = LARGEST_BODY
    whole: bool = False
    room: _Room | None = None
    taken: int = 0

    def add(self, chunk: bytes) -> None:
        """Store a chunk, if space allows."""
        size = self.size + len(chunk)
        if size > self.most:
            raise too_large(self.most)
        if self.room is not None and size > self.taken:
            self.room.take(size - self.taken)
            self.taken = size
        self.size = size
        self.content.write(chunk)

    async def move(self, room: _Room, size: int, seconds: float) -> None:
        """Reserve space for the stored and the following bytes.

        Args:
            room: The space of admitted callers.
            size: Bytes to reserve at once; more is reserved as it arrives.
            seconds: Maximum waiting time, in which nothing is read.
        """
        await room.wait(size, seconds)
        self.room = room
        self.taken = size

    def leave(self) -> None:
        """Release the space."""
        if self.room is not None:
            self.room.leave(self.taken)
            self.room = None


class _Feed:
    """The chunks of a body, in order."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._next: asyncio.Future[Event] | None = None

    async def take(self, body: _Body, seconds: float) -> bool:
        """Store the chunk that arrives within some seconds; return whether one did."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._receive())
        done, _ = await asyncio.wait({self._next}, timeout=max(seconds, 0.0))
        if not done:
            return False
        message = self._next.result()
        self._next = None
        if message["type"] != "http.request":
            raise Gone
        body.add(message.get("body", b""))
        body.whole = not message.get("more_body", False)
        return True

    def end(self) -> None:
        """Stop waiting for chunks."""
        if self._next is not None:
            self._next.cancel()


def too_large(most: int) -> TooLarge:
    """Return the error for a body above a limit."""
    return TooLarge("body_too_large", f"The body must have at most {most} bytes.")


class Front:
    """The ASGI app over a WSGI app.

    Args:
        app: The WSGI app; it handles `ASK` and `REFUSED`.
        threads: Number of requests processed at once where there are no queues.
        queues: The queues before the threads; None to queue all requests alike and without end.
        deadlines: The deadlines of a body.
        guarded: Maximum bytes of unfinished and large bodies of admitted callers in memory; others
            wait in order.
        public: The same for routes without a token, counted as bytes arrive.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        threads: int = 32,
        queues: Queues | None = None,
        deadlines: Deadlines | None = None,
        guarded: int = LARGEST_BODY,
        public: int = 8 * 1024 * 1024,
    ) -> None:
        self._app = app
        # Hundreds of slow senders may ask at once; complete requests must not wait behind them.
        few = max(1, threads // 8)
        # Refusals, and those who ask, pass no queue.
        self._pool = ThreadPoolExecutor(queues.threads + 3 * few if queues else threads, "lamina")
        self._queues = queues
        self._deadlines = deadlines or Deadlines()
        self._rooms = {GUARDED: _Room(guarded), PUBLIC: _Room(public)}
        self._asking = {late: asyncio.Semaphore(few) for late in (True, False)}

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Process a request."""
        environ = _environ(scope)
        body = _Body(whole=not _has_body(environ))
        try:
            if not body.whole:
                await self._read(environ, body, receive)
            answer = await self._queued(environ, body, receive)
        except Gone:
            return
        except _Turned as turned:
            answer = turned.answer
        except LaminaError as error:
            answer = await self._answer(environ | {REFUSED: error}, _Body())
        finally:
            body.leave()
        if not body.whole:
            # Unread bytes must not be taken for the next request.
            answer.headers.append(("Connection", "close"))
        await _send(answer, send)

    def close(self) -> None:
        """End the threads after their current requests."""
        self._pool.shutdown()

    async def _read(self, environ: Environ, body: _Body, receive: Receive) -> None:
        declared = int(environ.get("CONTENT_LENGTH") or LARGEST_BODY)
        if declared > LARGEST_BODY:
            raise too_large(LARGEST_BODY)
        loop = asyncio.get_running_loop()
        limits = self._deadlines
        begun = loop.time()
        feed = _Feed(receive)
        try:
            if declared <= _SMALL:
                while await feed.take(body, begun + limits.prompt - loop.time()):
                    if body.whole:
                        return
            room, body.most = await self._admit(environ, late=declared <= _SMALL)
            # Authorized callers reserve the whole body, others only the bytes sent.
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
        """Return the space in which the body counts, and its maximum size.

        Args:
            environ: The request.
            late: Whether it is a small body that did not arrive in time; a large one, which may be
                prompt, does not wait behind those.
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

    async def _queued(self, environ: Environ, body: _Body, receive: Receive) -> _Answer:
        if self._queues is None:
            return await self._answer(environ, body)
        method = environ["REQUEST_METHOD"]
        async with self._queues.turn(method, environ["PATH_INFO"], receive):
            return await self._answer(environ, body)

    async def _answer(self, environ: Environ, body: _Body) -> _Answer:
        if ASK not in environ:
            # The body is complete now, however it was framed.
            environ["CONTENT_LENGTH"] = str(body.size)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        body.content.seek(0)
        environ["wsgi.input"] = environ[BODY] = body.content
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, _call, self._app, environ
        )


def _has_body(environ: Environ) -> bool:
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _written(_chunk: bytes) -> None:
    """Refuse the write callable of PEP 3333, which no view of this service uses."""
    raise NotImplementedError("a view returns its whole body")


def _call(app: WSGIApplication, environ: Environ) -> _Answer:
    answer = _Answer()

    def start(
        status: str, headers: list[tuple[str, str]], _exc: object = None
    ) -> Callable[[bytes], object]:
        answer.status = int(status[:3])
        answer.headers = list(headers)
        return _written

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


def _environ(scope: Event) -> Environ:
    """Return the PEP 3333 environment of a request, without the body."""
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
        # CGI would map X_Forwarded_For to X-Forwarded-For, which only a proxy may set.
        return
    key = name.upper().replace("-", "_")
    if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        key = f"HTTP_{key}"
        value = f"{environ[key]},{value}" if key in environ else value
    environ[key] = value
