"""What 0015 makes of a database from before: no private key is left, nothing else is lost."""

import json

import pytest
from sqlalchemy import inspect, text

import service.app.container  # noqa: F401 - so that every table is known
from crypto.signing import SigningKey
from service.store import migrate

CLIENT = (
    "INSERT INTO client (id, name, status, scopes, first_party, asserts_context, segments, jwks, "
    "created_at, secret) VALUES (:id, 'c', 'active', '[]', :no, :no, '[]', :jwks, '2026-11-24', :b)"
)
TOKEN = "INSERT INTO bootstrap_token (digest, expires_at, used_at) VALUES (:b, '2026-11-25', NULL)"
LEAF = (
    "INSERT INTO audit_leaf (id, at, kind, actor, data, position) "
    "VALUES (:id, '2026-11-24', 'k', 'operator:x', '{}', :at)"
)
PUBLIC = SigningKey.generate().public_jwk()
PRIVATE = SigningKey.generate().jwk.as_dict(private=True)


@pytest.fixture
def engine(released):
    """An engine over a database of the revision before."""
    return released


def number(count):
    return f"{count:032x}"


def fill(engine):
    """Write rows as they were: keys of every kind, tokens, leaves."""
    sets = [
        None,
        {"keys": [PUBLIC]},
        {"keys": [PRIVATE, PUBLIC]},
        {"keys": [{"kty": "oct", "k": "AA"}]},
    ]
    with engine.begin() as connection:
        for count, jwks in enumerate(sets, 1):
            values = {
                "id": number(count),
                "no": False,
                "b": bytes(32),
                "jwks": json.dumps(jwks) if jwks else None,
            }
            connection.execute(text(CLIENT), values)
        for count in range(2):
            connection.execute(text(TOKEN), {"b": bytes([count]) * 32})
        for count in (1, 2):
            connection.execute(
                text(LEAF), {"id": number(count), "at": count if count > 1 else None}
            )


def read(engine, query):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query)).all()]


def plain(value):
    return json.loads(value) if isinstance(value, str) else value


def test_only_public_members_of_keys_are_left(engine):
    """A private key loses its private members, a shared one goes; public ones and clients stay."""
    fill(engine)
    migrate.upgrade(engine, "0015")
    found = [plain(row[0]) for row in read(engine, "SELECT jwks FROM client ORDER BY id")]
    assert found[0] is found[3] is None
    kept = {name: PRIVATE[name] for name in ("kty", "crv", "x", "y")}
    public = {name: value for name, value in PUBLIC.items() if name != "use"}
    assert found[1:3] == [{"keys": [public]}, {"keys": [kept | _kid(), public]}]
    assert PRIVATE["d"] not in str(read(engine, "SELECT jwks FROM client"))


def _kid():
    return {"kid": PRIVATE["kid"]} if "kid" in PRIVATE else {}


def test_tokens_get_seats_and_leaves_stay_where_they_are(engine):
    """Nothing is lost on the way up, down and up again; what waits is still found by its index."""
    fill(engine)
    for _ in range(2):
        migrate.upgrade(engine, "0015")
        assert read(engine, "SELECT round, seat FROM bootstrap_token ORDER BY seat") == [
            (1, 1),
            (1, 2),
        ]
        assert read(engine, "SELECT position FROM audit_leaf ORDER BY id") == [(None,), (2,)]
        indexes = {item["name"] for item in inspect(engine).get_indexes("audit_leaf")}
        assert indexes == {"ix_audit_leaf_waiting"}
        migrate.downgrade(engine, "0009")
    assert len(read(engine, "SELECT digest FROM bootstrap_token")) == 2
