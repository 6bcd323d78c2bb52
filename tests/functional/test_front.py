"""Bodies as they arrive: slow, large, in pieces, cut off; each ends, and none takes a thread."""

import asyncio
import json
import threading
from collections import Counter

import pytest

from service.web.front import ADMITTED, ASK, GUARDED, PUBLIC, REFUSED, Deadlines, Front

TOKEN = "/oauth2/token"
FLOWS = "/v1/flows"
JSON = (b"content-type", b"application/json")
QUICK = Deadlines(prompt=0.05, turn=0.1, whole=0.3, rate=1024)


LONG = 600.0
"""Seconds that no test lasts: what they bound does not end by itself."""


async def until(holds):
    """Wait until something holds."""

    async def ask():
        while not holds():  # noqa: ASYNC110 - some of it is told by no event
            await asyncio.sleep(0.005)

    await asyncio.wait_for(ask(), 120)


class Sender:
    """One request whose body comes in chunks; `None` stands for a wait until `rest` is set."""

    def __init__(self, front, path, chunks, headers=(), method="POST"):
        self._front = front
        self.rest = asyncio.Event()
        self._chunks = list(chunks)
        self.asked = 0
        self._scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "client": ("192.0.2.1", 4711),
            "headers": list(headers),
        }
        self.sent = []

    async def _receive(self):
        self.asked += 1
        chunk = self._chunks.pop(0) if self._chunks else None
        if chunk is None:
            await self.rest.wait()
        if chunk in {None, "gone"}:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks)}

    async def _send(self, message):
        self.sent.append(message)

    async def run(self):
        await self._front(self._scope, self._receive, self._send)
        return self

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def json(self):
        return json.loads(self.sent[1]["body"])


def length(size):
    return (b"content-length", str(size).encode())


CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.fixture
def front(service):
    """The ASGI app over the real one, with little patience."""
    made = Front(service.app, deadlines=QUICK)
    yield made
    made.close()


def send(front, path, chunks, *headers, method="POST"):
    return asyncio.run(Sender(front, path, chunks, headers, method).run())


def bearer(service):
    return (b"authorization", f"Bearer {service.bearer}".encode())


def test_a_body_in_pieces_is_one_body(service, front):
    """With a length or chunked, it is answered as if it came at once."""
    body = b'{"kind": "login", "identifier": "alice"}'
    halves = [body[:9], b"", body[9:]]
    for framing in (length(len(body)), CHUNKED):
        answer = send(front, FLOWS, halves, framing, JSON, bearer(service))
        assert answer.status == 201, answer.json
        assert answer.json["kind"] == "login"
        assert b"connection" not in answer.headers


def test_a_slow_body_is_ended_with_408(service, front):
    """On a public route, or by a caller with a token; the connection ends with it."""
    for path, headers in ((TOKEN, ()), (FLOWS, (bearer(service), JSON))):
        answer = send(front, path, [b"{", None], length(100), *headers)
        assert (answer.status, answer.json["code"]) == (408, "body_too_slow")
        assert answer.headers[b"connection"] == b"close"
        assert answer.headers[b"content-type"] == b"application/problem+json"


def test_one_byte_at_a_time_does_not_hold_a_connection(front):
    """Each byte buys only its share of the rate."""

    class Drip(Sender):
        async def _receive(self):
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

    answer = asyncio.run(Drip(front, TOKEN, (), [length(60_000)]).run())
    assert answer.status == 408


@pytest.mark.parametrize("chunks", [[b"{", None], [None], [b"x" * 70_000, None]])
@pytest.mark.parametrize(
    ("path", "status"), [(FLOWS, 401), ("/v1/subjects", 401), ("/nowhere", 404), ("/healthz", 405)]
)
def test_credentials_come_before_the_body(front, path, status, chunks):
    """A slow or large body to a guarded route without a token is not waited for."""
    for framing in (length(90_000), CHUNKED):
        answer = send(front, path, chunks, framing)
        assert answer.status == status
        assert answer.headers[b"connection"] == b"close"


def test_a_large_body_without_a_token_is_not_read(front):
    """Nothing of it is asked for before the guard has answered."""
    sender = send(front, FLOWS, [b"x" * 65_536] * 200, length(200 * 65_536))
    assert sender.status == 401
    assert sender.asked <= 1


@pytest.mark.parametrize("size", [300_000, 17 * 1024 * 1024, 10**15])
def test_a_body_above_the_limit_of_its_route_is_not_read(service, front, size):
    """The declared length alone is refused, with the limit."""
    sender = send(front, "/v1/subjects", [b"{", None], length(size), bearer(service))
    assert (sender.status, sender.json["code"]) == (413, "body_too_large")


def test_a_chunked_body_above_the_limit_is_cut(service, front):
    """What declares nothing is counted as it comes."""
    sender = send(front, "/v1/subjects", [b"x" * 65_536] * 99, CHUNKED, bearer(service))
    assert sender.status == 413
    assert sender.asked < 9


def test_a_client_that_leaves_is_forgotten(front):
    """There is nobody to answer, and what was held is given back."""
    assert send(front, TOKEN, [b"{", "gone"], length(100)).sent == []


def test_unfinished_bodies_share_a_bounded_room(service):
    """What does not fit is told to come back; whole small bodies still pass; room is given back."""
    deadlines = Deadlines(prompt=0.05, turn=0.1, whole=LONG)
    front = Front(service.app, deadlines=deadlines, guarded=100_000, public=4096)

    async def crowd():
        slow = [Sender(front, TOKEN, [b"x" * 1000, None], [length(60_000)]) for _ in range(40)]
        tasks = [asyncio.create_task(sender.run()) for sender in slow]
        await until(lambda: sum(task.done() for task in tasks) == 36)
        whole = await Sender(front, TOKEN, [b"grant_type=x"], [length(12)]).run()
        for sender in slow:
            sender.rest.set()
        await asyncio.gather(*tasks)
        return whole, slow

    async def twice():
        return await crowd(), await crowd()

    (whole, slow), (_, again) = asyncio.run(twice())
    assert whole.status == 400
    refused = next(sender for sender in slow if sender.status)
    assert refused.json["code"] == "overloaded"
    assert refused.headers[b"retry-after"] == b"1"
    # Those with room left their place to the next crowd when they went, unanswered.
    for senders in (slow, again):
        assert Counter(sender.status for sender in senders) == {503: 36, None: 4}
    front.close()


def test_large_bodies_wait_for_their_turn(service):
    """Each has room for all of it before it is read; one that leaves its place holds up nobody."""
    entered, free = [], threading.Event()

    def app(environ, start):
        if ASK not in environ:
            entered.append(environ)
            assert free.wait(120)
        return service.app(environ, start)

    front = Front(app, deadlines=Deadlines(turn=LONG, whole=LONG), guarded=100_000)
    body = b'{"kind": "login", "identifier": "' + b"a" * 70_000 + b'"}'
    headers = (length(len(body)), JSON, bearer(service))

    async def crowd():
        senders = [Sender(front, FLOWS, [body[:9], body[9:]], headers) for _ in range(6)]
        tasks = [asyncio.create_task(sender.run()) for sender in senders]
        await until(lambda: entered and len(front._rooms[GUARDED]._waiting) == 5)
        # Whoever has no room yet was asked for nothing.
        waiting = [number for number, sender in enumerate(senders) if not sender.asked]
        tasks[waiting[2]].cancel()
        free.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(waiting), [sender.status for sender in senders]

    waited, statuses = asyncio.run(crowd())
    assert (waited, Counter(statuses)) == (5, {422: 5, None: 1})
    front.close()


def test_a_body_larger_than_the_room_is_told_to_come_back(service):
    """It waits its turn and no longer."""
    front = Front(service.app, deadlines=QUICK, guarded=100_000)
    answer = send(front, FLOWS, [b"x" * 65_536] * 3, length(3 * 65_536), JSON, bearer(service))
    assert (answer.status, answer.json["code"]) == (503, "overloaded")
    front.close()


def test_more_slow_bodies_than_threads_stop_nobody(service):
    """Two threads answer others while a hundred bodies are on their way."""
    deadlines = Deadlines(prompt=0.05, turn=LONG, whole=LONG)
    front = Front(service.app, threads=2, deadlines=deadlines, public=1000)

    async def crowd():
        slow = [
            asyncio.create_task(Sender(front, TOKEN, [b"x", None], [length(100)]).run())
            for _ in range(100)
        ]
        await until(lambda: front._rooms[PUBLIC]._left == 900)
        answers = [await Sender(front, "/healthz", [], (), "GET").run() for _ in range(20)]
        done = [task for task in slow if task.done()]
        for task in slow:
            task.cancel()
        return answers, done

    answers, done = asyncio.run(crowd())
    assert [answer.status for answer in answers] == [200] * 20
    assert done == []
    front.close()


def test_no_header_passes_for_that_of_a_proxy(service, front):
    """A name with an underscore is dropped; one that comes twice is joined."""
    shown = {}

    def app(environ, start):
        shown.update(environ)
        start("204 No Content", [])
        return []

    spy = Front(app)
    send(
        spy,
        "/a%2Fb%C3%A9",
        [],
        (b"x_forwarded_for", b"9.9.9.9"),
        (b"x-a", b"1"),
        (b"x-a", b"2"),
        (b"if-match", b"\xc3\xa9"),
        method="GET",
    )
    assert "HTTP_X_FORWARDED_FOR" not in shown
    assert (shown["HTTP_X_A"], shown["HTTP_IF_MATCH"]) == ("1,2", "\xc3\xa9")
    assert shown["PATH_INFO"].encode("latin-1").decode() == "/a/bé"
    assert (shown["REMOTE_ADDR"], shown["CONTENT_LENGTH"]) == ("192.0.2.1", "0")
    spy.close()


def test_refusals_are_counted_and_admissions_are_not(service, front):
    """A body that was read late is one request in the metrics."""
    body = b'{"kind": "login", "identifier": "' + b"a" * 70_000 + b'"}'
    assert send(front, FLOWS, [body], length(len(body)), JSON, bearer(service)).status == 422
    send(front, TOKEN, [b"{", None], length(100))
    shown = service.measured()
    assert 'lamina_http_requests_total{method="POST",route="/v1/flows",status="422"} 1.0' in shown
    assert 'method="POST",route="unmatched",status="408"} 1.0' in shown
    assert 'status="204"' not in shown


def beside_slow_senders(app, threads, path, chunks, *headers, method="POST"):
    """Send a request beside as many slow senders as there are threads.

    Args:
        app: The WSGI app; it is called with an event that is set once the request was answered.
        threads: How many there are.
        path: Where the request goes.
        chunks: Its body.
        headers: Its headers.
        method: Its method.

    Returns:
        The status of the request, and those of the slow senders.
    """
    answered, begun = threading.Event(), threading.Event()

    def telling(environ, start):
        begun.set()
        return app(answered, environ, start)

    front = Front(telling, threads=threads, deadlines=QUICK)

    async def race():
        slow = [Sender(front, FLOWS, [b"{", None], [length(9)]) for _ in range(threads)]
        waiting = [asyncio.ensure_future(one.run()) for one in slow]
        try:
            await until(begun.is_set)
            asked = Sender(front, path, chunks, headers, method)
            asked = await asyncio.wait_for(asked.run(), 120)
            # Each slow one in the line has waited its turn by then, but for those asked about.
            few = max(1, threads // 8)
            await until(lambda: sum(one.done() for one in waiting) == threads - few)
        finally:
            answered.set()
        await asyncio.gather(*waiting)
        return asked.status, {one.status for one in slow}

    try:
        return asyncio.run(race())
    finally:
        front.close()


def test_senders_that_are_asked_about_take_no_thread_of_a_whole_request():
    """It is answered meanwhile; those that waited for their turn are told to come back."""

    def app(answered, environ, start):
        if ASK in environ:
            answered.wait(LONG)
        start("503 Refused" if REFUSED in environ else "200 OK", [])
        return [b"{}"]

    found = beside_slow_senders(app, 8, "/healthz", [], method="GET")
    assert found == (200, {200, 503})


def test_a_large_body_does_not_wait_behind_slow_senders():
    """It is asked about in a line of its own, and none waits in one for ever."""

    def app(answered, environ, start):
        if ASK in environ and environ["CONTENT_LENGTH"] == "9":
            answered.wait(LONG)
        if ASK in environ:
            environ[ADMITTED] = (GUARDED, 200_000)
        start("503 Refused" if REFUSED in environ else "200 OK", [])
        return [b"{}"]

    found = beside_slow_senders(app, 32, FLOWS, [b"x" * 100_000], length(100_000))
    assert found == (200, {503})
