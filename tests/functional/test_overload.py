"""Overload: passwords wait in a queue of their own, and what is refused changes nothing."""

import asyncio
import threading
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from service.domain.errors import Unavailable
from service.web.front import REFUSED, Front
from service.web.queues import Effort, Gone, Queue, Queues
from tests.functional.conftest import PASSWORD
from tests.functional.test_front import JSON, LONG, Sender, bearer, length, until

FLOWS = "/v1/flows"


async def silent():
    """Receive nothing: the client stays."""
    await asyncio.sleep(LONG)


async def departed():
    """Receive that the client has gone."""
    return {"type": "http.disconnect"}


def queue(width=1, step=LONG, start=LONG):
    """Return a queue for both kinds of slow work."""
    return Queue(width, {Effort.STEP: step, Effort.START: start})


class Asked:
    """A request in a queue, until it is let go."""

    def __init__(self, place, effort, order=None, receive=silent):
        self.effort, self.order, self.go = effort, order, asyncio.Event()
        self.task = asyncio.ensure_future(self.run(place, receive))

    async def run(self, place, receive):
        async with place.turn(self.effort, receive):
            if self.order is not None:
                self.order.append(self)
            await self.go.wait()


def waiting(place):
    """Return how many requests are in the queues of a queue."""
    return sum(map(len, place._waiting.values()))


def test_what_was_begun_goes_before_what_begins():
    """Steps in order of their arrival, then starts in order of theirs."""

    async def ask():
        place, order = queue(), []
        running = Asked(place, Effort.START, order)
        await until(lambda: order)
        efforts = (Effort.START, Effort.STEP, Effort.START, Effort.STEP)
        asked = [Asked(place, effort, order) for effort in efforts]
        await until(lambda: waiting(place) == 4)
        for one in (running, *asked):
            one.go.set()
        await asyncio.gather(running.task, *(one.task for one in asked))
        return [asked.index(one) for one in order[1:]], place._free

    assert asyncio.run(ask()) == ([1, 3, 0, 2], 1)


def test_who_would_wait_too_long_is_refused_at_once():
    """By the length of the queue and the time that requests took; a step later than a start."""

    async def ask():
        place = queue(step=2.0, start=1.0)
        place._seconds = 0.3
        running = Asked(place, Effort.START)
        await until(lambda: not place._free)
        asked = [Asked(place, Effort.START) for _ in range(5)]
        await until(lambda: sum(one.task.done() for one in asked) == 2)
        refused = [one.task.exception() for one in asked if one.task.done()]
        step = Asked(place, Effort.STEP)
        await until(lambda: waiting(place) == 4)
        for one in (running, step, *asked):
            one.go.set()
        await asyncio.gather(*(one.task for one in (running, step, *asked)), return_exceptions=True)
        return refused, place._free

    refused, free = asyncio.run(ask())
    assert [(it.code, it.retry_after) for it in refused] == [("overloaded", 2)] * 2
    assert free == 1


def test_steps_that_come_in_between_are_expected():
    """Where every second place went to a step, a start waits twice as long."""
    place = queue()
    place._seconds, place._steps = 1.0, 0.5
    assert (place._expected(Effort.STEP), place._expected(Effort.START)) == (1.0, 2.0)
    place._steps = 1.0
    assert place._expected(Effort.START) == 4.0


def test_requests_that_last_unevenly_are_expected_to_last_longer():
    """By their average deviation; even ones by nothing."""
    even, uneven = queue(), queue()
    for _ in range(200):
        even._measure(1.0)
    for seconds in (0.5, 1.5) * 100:
        uneven._measure(seconds)
    assert even._expected(Effort.STEP) == pytest.approx(1.0, abs=0.01)
    assert uneven._expected(Effort.STEP) == pytest.approx(1.5, abs=0.06)


def test_who_waits_longer_than_expected_is_dropped():
    """Its deadline ends the wait; nobody else is held up by it."""

    async def ask():
        place = queue(start=0.02)
        place._seconds = 0.001
        running = Asked(place, Effort.STEP)
        await until(lambda: not place._free)
        late = Asked(place, Effort.START)
        with pytest.raises(Unavailable):
            await late.task
        running.go.set()
        await running.task
        return place._free, waiting(place)

    assert asyncio.run(ask()) == (1, 0)


def test_who_has_left_takes_no_place():
    """In the queue, or at the very moment at which its turn came."""

    async def ask():
        place = queue()
        running = Asked(place, Effort.STEP)
        await until(lambda: not place._free)
        with pytest.raises(Gone):
            await Asked(place, Effort.START, receive=departed).task
        left = asyncio.Event()

        async def leaving():
            await left.wait()
            return {"type": "http.disconnect"}

        both = Asked(place, Effort.START, receive=leaving)
        await until(lambda: waiting(place) == 1)
        left.set()
        running.go.set()
        with pytest.raises(Gone):
            await both.task
        cancelled = [Asked(place, Effort.START) for _ in range(2)]
        await until(lambda: waiting(place) == 1)
        for one in reversed(cancelled):
            one.task.cancel()
        await asyncio.gather(*(one.task for one in cancelled), return_exceptions=True)
        return place._free, waiting(place)

    assert asyncio.run(ask()) == (1, 0)


def test_a_request_that_is_cancelled_when_its_turn_comes_gives_it_on():
    """Nobody has the turn afterwards."""

    async def ask():
        place = queue()
        running = Asked(place, Effort.STEP)
        await until(lambda: not place._free)
        next_one = Asked(place, Effort.STEP)
        await until(lambda: waiting(place) == 1)
        place._leave()
        place._free -= 1
        next_one.task.cancel()
        await asyncio.gather(next_one.task, return_exceptions=True)
        running.go.set()
        await running.task
        return place._free, waiting(place)

    assert asyncio.run(ask()) == (1, 0)


@asynccontextmanager
async def crowded(service, blocked, slow=2):
    """A front whose slow threads are all taken, and who was let through to the app."""
    entered, free = [], threading.Event()

    def app(environ, start):
        if environ["PATH_INFO"] == FLOWS and REFUSED not in environ:
            entered.append(environ)
            assert free.wait(120)
        return service.app(environ, start)

    queues = Queues(service.app.extensions["lamina.api"].effort_of, slow=slow)
    front = Front(app, queues=queues)
    body = b'{"kind": "login", "identifier": "alice"}'
    headers = (length(len(body)), JSON, bearer(service))
    senders = [Sender(front, FLOWS, [body], headers) for _ in range(blocked)]
    tasks = [asyncio.create_task(sender.run()) for sender in senders]
    try:
        await until(lambda: len(entered) == slow)
        yield front, queues, entered, senders
    finally:
        free.set()
        await asyncio.gather(*tasks)
        front.close()


def test_others_are_answered_while_passwords_fill_their_queue(service):
    """Tokens, keys, health and readiness pass by; two hash, and the rest waits in no thread."""
    paths = ("/healthz", "/readyz", "/.well-known/jwks.json")

    async def ask():
        async with crowded(service, 12) as (front, queues, entered, senders):
            await until(lambda: waiting(queues._slow) == 10)
            answers = [await Sender(front, path, [], (), "GET").run() for path in paths]
            form = b"grant_type=client_credentials"
            answers.append(await Sender(front, "/oauth2/token", [form], [length(len(form))]).run())
            passed = len(entered)
        return [answer.status for answer in answers], passed, [one.status for one in senders]

    statuses, passed, flows = asyncio.run(ask())
    assert (statuses[0], statuses[2], statuses[3], passed) == (200, 200, 400, 2)
    assert statuses[1] in {200, 503}
    assert flows == [201] * 12


def test_what_is_shed_never_reaches_the_app(service):
    """It is told when to come back, and no flow was begun; later ones are served."""

    async def ask():
        async with crowded(service, 2) as (front, queues, entered, _):
            queues._slow._seconds = 10.0
            body = b'{"kind": "login", "identifier": "alice"}'
            headers = (length(len(body)), JSON, bearer(service))
            shed = [await Sender(front, FLOWS, [body], headers).run() for _ in range(3)]
            passed = len(entered)
        return shed, passed

    shed, passed = asyncio.run(ask())
    assert passed == 2
    for answer in shed:
        assert (answer.status, answer.json["code"]) == (503, "overloaded")
        assert answer.headers[b"retry-after"] == b"5"
    assert service.measured().count('route="unmatched",status="503"} 3.0') == 1


def test_an_action_that_is_shed_costs_no_attempt(service):
    """The flow is as it was, and goes on when there is room."""
    service.register()
    flow = service.begin().json
    path = f"{FLOWS}/{flow['id']}/actions/password"
    token = (b"flow-token", flow["flow_token"].encode())

    def act(front, password):
        body = b'{"password": "%s"}' % password.encode()
        headers = (length(len(body)), JSON, bearer(service), token)
        return Sender(front, path, [body], headers).run()

    async def ask():
        async with crowded(service, 2) as (front, queues, _, _senders):
            queues._slow._seconds = 10.0
            shed = [await act(front, "a wrong one") for _ in range(8)]
        queues._slow._seconds = 0.01
        return shed, queues

    shed, _ = asyncio.run(ask())
    assert Counter(answer.status for answer in shed) == {503: 8}
    seen = service.call("GET", f"{FLOWS}/{flow['id']}", Flow_Token=flow["flow_token"]).json
    assert (seen["attempts_left"], seen["revision"]) == (flow["attempts_left"], flow["revision"])
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200


def test_a_client_that_leaves_the_queue_costs_no_hash(service):
    """It never reaches the app; the place in the queue is another's."""

    async def ask():
        async with crowded(service, 2) as (front, queues, entered, _):
            body = b'{"kind": "login", "identifier": "bob"}'
            headers = (length(len(body)), JSON, bearer(service))
            gone = await Sender(front, FLOWS, [body, "gone"], headers).run()
            assert waiting(queues._slow) == 0
            passed = len(entered)
        return gone.sent, passed

    assert asyncio.run(ask()) == ([], 2)


@pytest.mark.parametrize(
    ("method", "path", "effort"),
    [
        ("POST", "/v1/flows", Effort.START),
        ("POST", "/v1/flows/1/actions/totp", Effort.STEP),
        ("POST", "/v1/subjects", Effort.START),
        ("POST", "/v1/subjects/1/authenticators/2/confirm", Effort.STEP),
        ("GET", "/v1/flows", Effort.QUICK),
        ("POST", "/v1/flows/1/2/actions/totp", Effort.QUICK),
        ("POST", "/oauth2/introspect", Effort.QUICK),
        ("POST", "/nowhere", Effort.QUICK),
    ],
)
def test_the_queue_follows_from_the_operation(service, method, path, effort):
    """By what its decorator declares."""
    assert service.app.extensions["lamina.api"].effort_of(method, path) is effort


def test_beginnings_have_their_share_whoever_sends_steps():
    """A step shows no token before it is served: strangers' steps keep no login out."""

    async def ask():
        place, order = queue(), []
        running = Asked(place, Effort.START, order)
        await until(lambda: order)
        efforts = (Effort.START, *[Effort.STEP] * 6)
        asked = [Asked(place, effort, order) for effort in efforts]
        await until(lambda: waiting(place) == 7)
        for one in (running, *asked):
            one.go.set()
        await asyncio.gather(running.task, *(one.task for one in asked))
        return [asked.index(one) for one in order[1:]]

    assert asyncio.run(ask()) == [1, 2, 3, 0, 4, 5, 6]
