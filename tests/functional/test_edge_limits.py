"""Edge limits: one caller is one bucket; losing Redis loosens no limit and is no error."""

import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter
from redis import Redis as Asked

from service.app import create_app, open_container
from service.web.limits import EdgeCounts, left
from tests.lacking import lacks

KEYS = "/.well-known/jwks.json"
LIMIT = 1200
LOG_KEYS = "/.well-known/lamina-log-keys"


class Redis:
    """A Redis of its own, which can be killed and started again."""

    def __init__(self, port):
        self.port = port
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        self.process = subprocess.Popen(
            [
                "redis-server",
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis():
    """A server that nobody else uses."""
    if shutil.which("redis-server") is None:
        lacks("redis-server", "install it, so that one can be killed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Redis(port)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def houses(settings, clock):
    """Apps on one database, as several processes would have them."""
    opened = []

    def open_app(**changes):
        container = open_container(settings.model_copy(update=changes), clock)
        opened.append(container)
        return create_app(container)

    yield open_app
    for container in opened:
        container.store.engine.dispose()


def ask(app, address="192.0.2.1", path=KEYS, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = app.test_client()
    return client.get(path, environ_base={"REMOTE_ADDR": address}, headers=named).status_code


def test_redis_that_was_never_there_does_not_stop_the_service(houses):
    """Edge limits are counted in the process until it comes."""
    app = houses(redis_url="redis://127.0.0.1:1/0")
    assert ask(app) == 200
    assert "redis_lost" in app.test_client().get("/readyz").json["findings"]


def test_losing_redis_under_load_answers_every_request(houses, redis):
    """Requests in flight while Redis dies are answered by the route, none with 500."""
    app = houses(redis_url=redis.url)
    begun, answers = threading.Event(), []

    def send(number):
        if number == 60:
            begun.set()
        answers.append(ask(app, f"192.0.2.{number % 8}"))

    def kill():
        assert begun.wait(60)
        redis.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(400)))
    killer.join()
    assert (len(answers), set(answers)) == (400, {200})


def test_without_redis_a_caller_gets_no_more_than_the_limit_of_the_route(houses, redis):
    """What was spent stays spent, and what is left is divided among the processes."""
    apps = [houses(redis_url=redis.url, workers=2) for _ in range(2)]
    spent = [ask(apps[number % 2]) for number in range(600)]
    redis.kill()
    rest = [ask(apps[number % 2]) for number in range(900)]
    assert (spent + rest).count(200) == LIMIT
    assert set(spent + rest) == {200, 429}
    assert ask(apps[0], "192.0.2.9") == 200
    assert [ask(apps[0], "192.0.2.10", LOG_KEYS) for _ in range(400)].count(200) == 300


def test_redis_that_comes_back_does_not_forget(houses, redis, monkeypatch):
    """What came meanwhile counts on; a process asks again by itself."""
    monkeypatch.setattr("service.web.limits._AGAIN", 0.0)
    app = houses(redis_url=redis.url)
    before = [ask(app) for _ in range(400)]
    redis.kill()
    meanwhile = [ask(app) for _ in range(400)]
    redis.start()
    after = [ask(app) for _ in range(600)]
    assert (before + meanwhile + after).count(200) == LIMIT
    assert 500 not in set(after)


def test_a_redis_that_does_not_answer_is_lost(houses):
    """One that takes connections and says nothing delays a request, and is no error."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        app = houses(redis_url=f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        assert {ask(app) for _ in range(20)} == {200}


def test_processes_without_redis_share_the_limit(houses):
    """Four processes allow together what one route allows."""
    apps = [houses(workers=4) for _ in range(4)]
    assert [ask(apps[number % 4]) for number in range(1600)].count(200) == LIMIT


@pytest.mark.parametrize(
    "spellings",
    [
        ("192.0.2.7", "192.0.2.7:47", "[::ffff:192.0.2.7]:443", "0300.0.2.07", "::FFFF:C000:207"),
        ("2001:db8::1", "[2001:DB8::2]:443", "2001:db8::ffff:1%eth0", "2001:0db8:0:0:9::"),
        ("unknown", "", "_hidden", "1.2.3.4.5", "9" * 5000, "192.0.2.256"),
    ],
)
def test_another_spelling_is_no_other_caller(houses, spellings):
    """Behind a proxy every spelling of an address, and every garbage, is counted together."""
    app = houses(trusted_proxies=1)
    answers = [
        ask(app, "unix:" if not spelled else "10.0.0.1", X_Forwarded_For=spelled)
        for _ in range(LIMIT // len(spellings) + 1)
        for spelled in spellings
    ]
    assert answers.count(200) == LIMIT
    assert ask(app, X_Forwarded_For="198.51.100.1") == 200


def test_counts_end_and_are_dropped(monkeypatch):
    """A window ends by itself, and what ended is not kept."""
    clock = [0.0]
    monkeypatch.setattr("service.web.limits.time.monotonic", lambda: clock[0])
    counts = EdgeCounts()
    assert [counts.incr("a", 60) for _ in range(3)] == [1, 2, 3]
    assert (counts.get("a"), counts.check()) == (3, True)
    clock[0] = 61.0
    assert (counts.get("a"), counts.incr("a", 60)) == (0, 1)
    for number in range(20_000):
        clock[0] += 1.0
        counts.incr(f"caller {number}", 60)
    assert counts.reset() <= 4096
    counts.incr("a", 60)
    counts.clear("a")
    assert (counts.get("a"), counts.get_expiry("a") <= time.time()) == (0, True)


def test_what_is_told_is_what_is_left_of_the_window(monkeypatch):
    """A third of a minute after the first of too many, forty seconds are left, and never none."""
    clock = [1000.0]
    monkeypatch.setattr("service.web.limits.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("service.web.limits.time.time", lambda: clock[0] + 1e9)
    limiter, once = FixedWindowRateLimiter(EdgeCounts()), RateLimitItemPerMinute(1)
    assert limiter.hit(once, "a")
    assert left(limiter, once, "a") == 60
    clock[0] += 20
    assert not limiter.hit(once, "a")
    assert left(limiter, once, "a") == 40
    clock[0] += 39.9
    assert left(limiter, once, "a") == 1


def test_a_window_that_another_process_began_ends_where_redis_says(redis):
    """What this process saw last is younger than the window; Redis away, this process tells."""
    limiters = [FixedWindowRateLimiter(EdgeCounts(redis_url=redis.url)) for _ in range(2)]
    once = RateLimitItemPerMinute(1)
    assert limiters[0].hit(once, "a")
    Asked.from_url(redis.url).pexpire(f"LIMITS:{once.key_for('a')}", 20_000)
    assert not limiters[1].hit(once, "a")
    assert left(limiters[1], once, "a") <= 20
    redis.kill()
    assert 20 < left(limiters[1], once, "a") <= 60


def test_a_route_tells_what_is_left(service, monkeypatch):
    """Asked too often in the first half of a minute, a route is free after the other half."""
    clock = [1000.0]
    monkeypatch.setattr("service.web.limits.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("service.web.limits.time.time", lambda: clock[0] + 1e9)
    answers = [service.http.get(LOG_KEYS) for _ in range(600)]
    assert {answer.status_code for answer in answers} == {200}
    clock[0] += 30
    refused = service.http.get(LOG_KEYS)
    told = [refused.headers[name] for name in ("Retry-After", "RateLimit-Reset")]
    assert (refused.status_code, told) == (429, ["30", "30"])
    assert refused.headers["RateLimit-Remaining"] == "0"
    clock[0] += 30
    assert service.http.get(LOG_KEYS).status_code == 200
