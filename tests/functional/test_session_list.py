"""The list of sessions tells device, network, last use and which one asks."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text

from crypto.hashing import PasswordHasher
from service.app import open_container
from service.sessions.store import SessionRow
from tests.functional.conftest import PASSWORD, Service
from tests.mmdb import write

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CONTEXT = {"ip": "203.0.113.77", "user_agent": FIREFOX}
OF = {
    "device": {"agent": "firefox", "system": "linux"},
    "network": {"prefix": "203.0.113.0/24", "country": None},
}
SAID = {"device": None, "network": None}


@pytest.fixture
def asserting(service):
    """The service with a client that may say where people come from."""
    service.client_id, service.secret = service.new_client(name="front", asserts_context=True)
    service.bearer = service.access()
    return service


def sign_in(service, person, **more):
    """Sign in and exchange; return the tokens."""
    flow = service.begin(person.name, **more).json
    service.act(flow, "password", {"password": PASSWORD})
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    service.clock.advance(seconds=31)
    return service.exchange(done["completion_code"]).json


def sessions(service, person, **headers):
    """Return the list, and check that it was given."""
    answer = service.call("GET", f"/v1/subjects/{person.id}/sessions", **headers)
    assert answer.status_code == 200, answer.json
    return answer.json["items"]


def told(item):
    """Return what a list says of where a session began."""
    return {name: item[name] for name in SAID}


def test_a_list_tells_device_network_and_last_use(asserting):
    """Kind of device and network are coarse; a refresh is a use, a look at the token is none."""
    alice = asserting.register()
    tokens = sign_in(asserting, alice, context=CONTEXT)
    (item,) = sessions(asserting, alice)
    assert told(item) == OF
    assert item["last_used_at"] == "2026-11-24T12:00:36Z"
    assert "203.0.113.77" not in str(item)
    assert "140" not in str(item)
    asserting.clock.advance(minutes=2)
    assert asserting.oauth("introspect", token=tokens["access_token"]).json["active"]
    assert sessions(asserting, alice)[0]["last_used_at"] == item["last_used_at"]
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert asserting.oauth("token", **form).status_code == 200
    assert sessions(asserting, alice)[0]["last_used_at"] == "2026-11-24T12:02:36Z"


def test_the_country_is_told_where_a_database_knows_it(settings, clock, tmp_path):
    """An IPv6 network is told by 48 bits."""
    records = {"2001:db8::/32": {"country": {"iso_code": "NO"}}}
    path = write(tmp_path / "country.mmdb", records, version=6)
    known = settings.model_copy(update={"geoip_db": (path,)})
    service = Service(open_container(known, clock, PasswordHasher.unsafe_for_tests()), clock)
    service.client_id, service.secret = service.new_client(name="front", asserts_context=True)
    service.bearer, alice = service.access(), service.register()
    sign_in(service, alice, context={"ip": "2001:db8:aa:bb::1"})
    (item,) = sessions(service, alice)
    service.container.store.engine.dispose()
    assert told(item) == {
        "device": None,
        "network": {"prefix": "2001:db8:aa::/48", "country": "NO"},
    }


def test_what_counts_for_nothing_is_not_told(service):
    """A client that is not registered to say so says nothing, and neither does an empty context."""
    alice = service.register()
    sign_in(service, alice, context=CONTEXT)
    sign_in(service, alice)
    assert [told(item) for item in sessions(service, alice)] == [SAID, SAID]


def test_garbage_is_told_as_nothing(asserting):
    """An address that is none and a blank agent leave the list without them."""
    alice = asserting.register()
    sign_in(asserting, alice, context={"ip": "::ffff:999.1", "user_agent": "   "})
    assert told(sessions(asserting, alice)[0]) == SAID


def test_a_step_up_keeps_what_it_is_not_told_anew(asserting):
    """The session that replaces another began where that did, unless the flow says where."""
    alice = asserting.register()
    tokens = sign_in(asserting, alice, context=CONTEXT)

    def raised(**more):
        body = {"access_token": tokens["access_token"], "max_age": 20} | more
        flow = asserting.begin(None, "step_up", **body).json
        shown = {"password": {"password": PASSWORD}, "totp": {"code": asserting.code(alice)}}
        while "completion_code" not in flow:
            (name, *_) = flow["actions"]
            flow |= asserting.act(flow, name, shown[name]).json
        asserting.clock.advance(seconds=31)
        return asserting.exchange(flow["completion_code"]).json

    tokens = raised()
    assert [told(item) for item in sessions(asserting, alice)] == [OF]
    raised(context={"ip": "198.51.100.9"})
    assert [told(item) for item in sessions(asserting, alice)] == [
        {"device": None, "network": {"prefix": "198.51.100.0/24", "country": None}}
    ]


def test_the_session_that_asks_is_marked(asserting):
    """The person's access token goes in a header, and marks its own session alone."""
    alice, bob = asserting.register(), asserting.register("bob")
    first, second = sign_in(asserting, alice), sign_in(asserting, alice)
    assert [item["current"] for item in sessions(asserting, alice)] == [False, False]
    for tokens, marks in ((first, [True, False]), (second, [False, True])):
        items = sessions(asserting, alice, Session_Token=tokens["access_token"])
        assert [item["current"] for item in items] == marks
    other = sessions(asserting, alice, Session_Token=sign_in(asserting, bob)["access_token"])
    assert [item["current"] for item in other] == [False, False]


def test_a_token_that_names_no_session_is_refused(asserting):
    """One that is over, of another client, or no token of a person is told, and not left out."""
    alice = asserting.register()
    token = sign_in(asserting, alice)["access_token"]
    path = f"/v1/subjects/{alice.id}/sessions"
    stranger = asserting.access(asserting.new_client(name="other"))
    given = [
        asserting.call("GET", path, Session_Token="x"),
        asserting.call("GET", path, Session_Token=asserting.bearer),
        asserting.call("GET", path, bearer=stranger, Session_Token=token),
    ]
    asserting.clock.advance(minutes=6)
    asserting.bearer = asserting.access()
    given.append(asserting.call("GET", path, Session_Token=token))
    for answer in given:
        assert answer.status_code == 422
        assert answer.json["errors"][0]["code"] == "bad_session_token"
        assert token not in answer.text


def test_device_and_network_end_with_the_session(asserting):
    """They are sealed while it goes on, in the export then, and gone at once when it ends."""
    alice = asserting.register()
    for _ in range(3):
        sign_in(asserting, alice, context=CONTEXT)
    container, first = asserting.container, sessions(asserting, alice)[0]["id"]

    def cells():
        with container.store.transaction(read=True) as tx:
            rows = tx.execute(text("SELECT origin FROM session ORDER BY id")).scalars()
            return [bytes(cell) if cell is not None else None for cell in rows]

    assert all(cells())
    assert not any(b"firefox" in cell or b"203.0" in cell for cell in cells())
    document = container.exports.whole(UUID(alice.id), "test")
    (section,) = [item for item in document["sections"] if item["name"] == "session"]
    assert [row["origin"] for row in section["rows"]] == [OF, OF, OF]
    path = f"/v1/subjects/{alice.id}/sessions"
    assert asserting.call("DELETE", f"{path}/{first}").status_code == 204
    assert [cell is None for cell in cells()] == [True, False, False]
    with container.store.transaction() as tx:
        # An object that was read before the end shows it too.
        row = tx.scalars(select(SessionRow).order_by(SessionRow.id.desc())).first()
        assert row.origin
        container.sessions.end(tx, row.id, "test")
        assert row.origin is None
    assert [cell is None for cell in cells()] == [True, False, True]
    asserting.clock.advance(hours=25)
    asserting.bearer = asserting.access()
    assert sessions(asserting, alice) == []
    assert [cell is None for cell in cells()] == [True, False, True]
    assert asserting.call("DELETE", f"/v1/subjects/{alice.id}").status_code == 200
    assert cells() == [None, None, None]


def test_a_restore_ends_them_for_everybody(asserting):
    """What a backup may revive keeps neither device nor network."""
    alice = asserting.register()
    sign_in(asserting, alice, context=CONTEXT)
    with asserting.container.store.transaction() as tx:
        assert asserting.container.sessions.end_everything(tx) == 1
    with asserting.container.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT count(origin) FROM session")).scalar() == 0


def test_a_last_use_in_the_future_is_told_as_the_beginning(asserting):
    """A clock that went wrong leaves no time that is not over."""
    alice = asserting.register()
    sign_in(asserting, alice)
    (item,) = sessions(asserting, alice)
    with asserting.container.store.transaction() as tx:
        (row,) = tx.scalars(select(SessionRow)).all()
        row.last_seen_at += timedelta(days=300)
    (later,) = sessions(asserting, alice)
    assert later["last_used_at"] == item["created_at"] != item["last_used_at"]
