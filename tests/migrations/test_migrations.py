"""Migrations lead from nothing to the models, and back."""

import uuid
from datetime import UTC, datetime
from uuid import UUID

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Uuid, bindparam, inspect, text
from sqlalchemy.exc import IntegrityError

import service.app.container  # noqa: F401 - so that every table is known
from crypto.envelope import ERASED
from service.domain.errors import SetupError
from service.store import migrate
from service.store.base import Base


@pytest.fixture
def engine(empty):
    """An engine over an empty database."""
    return empty


def test_the_schema_equals_the_models(engine):
    """After the last migration nothing is missing and nothing is left over."""
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert migrate.differences(connection, Base.metadata) == []
    newest = ScriptDirectory.from_config(migrate._config()).get_current_head()
    assert migrate.current(engine) == migrate.HEAD == newest


def test_down_and_up_again(engine):
    """Every migration can be taken back and done again."""
    migrate.upgrade(engine)
    migrate.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate.upgrade(engine)
    migrate.require_current(engine)


def test_rows_survive_a_step_down_and_up(engine):
    """What an earlier migration holds is there after a later one is taken back."""
    migrate.upgrade(engine)
    row = "INSERT INTO throttle (id, bucket, lane, knowledge, other, face, total, updated_at) "
    values = (
        "VALUES ('00000000000000000000000000000001', 'b', 'stranger', 1, 2, 3, 6, '2026-11-24')"
    )
    with engine.begin() as connection:
        connection.execute(text(row + values))
    migrate.downgrade(engine, "0001")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT total FROM throttle")).scalar() == 6


def test_a_strict_row_of_faces_keeps_its_count_both_ways(engine):
    """Revision 0016: a number above a thousand becomes the true count and a mark, and back."""
    migrate.upgrade(engine, "0009")
    row = "INSERT INTO throttle (id, bucket, lane, knowledge, other, face, total, updated_at) "
    values = (
        "VALUES ('0000000000000000000000000000000{0}', 'b{0}', 'stranger', 0, 0, {1}, 3, "
        "'2026-11-24')"
    )
    with engine.begin() as connection:
        for number, face in ((1, 1003), (2, 3), (3, 0)):
            connection.execute(text(row + values.format(number, face)))
    migrate.upgrade(engine)
    query = text("SELECT face, strict FROM throttle ORDER BY id")
    with engine.connect() as connection:
        found = [(face, bool(strict)) for face, strict in connection.execute(query)]
    assert found == [(3, True), (3, False), (0, False)]
    migrate.downgrade(engine, "0009")
    with engine.connect() as connection:
        faces = connection.execute(text("SELECT face FROM throttle ORDER BY id")).scalars().all()
    assert faces == [1003, 3, 0]


def test_another_schema_is_refused(engine):
    """An empty and an old database stop the start with the command that mends it."""
    with pytest.raises(SetupError) as empty:
        migrate.require_current(engine)
    assert "lamina db upgrade" in empty.value.detail
    migrate.upgrade(engine, "0001")
    with pytest.raises(SetupError) as old:
        migrate.require_current(engine)
    assert "revision 0001" in old.value.detail


_S, _OTHER = "000000000000000000000000000000a1", "000000000000000000000000000000a2"


def _twice(connection):
    """Write what two requests at once could leave before 0010: of each kind too many."""
    subject = (
        "INSERT INTO subject (id, status, segment, client_id, created_at, updated_at)"
        " VALUES (:id, 'active', 'default', :id, '2026-11-01', '2026-11-01')"
    )
    authenticator = (
        "INSERT INTO authenticator (id, subject_id, type, status, created_at, confirmed_at,"
        " verifier) VALUES (:id, :subject, :type, :status, :at, :at, :sealed)"
    )
    code = (
        "INSERT INTO recovery_code (id, authenticator_id, subject_id, digest)"
        " VALUES (:id, :authenticator, :subject, :sealed)"
    )
    consent = (
        "INSERT INTO consent (id, subject_id, purpose, version, text_hash, locale, channel,"
        " given_at, withdrawn_at) VALUES (:id, :subject, :purpose, '1', 'x', 'en', 'web', :at,"
        " :until)"
    )
    for subject_id in (_S, _OTHER):
        connection.execute(text(subject), {"id": subject_id})
    rows = [
        (1, _S, "totp", "active", "2026-11-02"),
        (2, _S, "totp", "active", "2026-11-04"),
        (3, _S, "totp", "active", "2026-11-03"),
        (4, _S, "totp", "pending", "2026-11-05"),
        (5, _S, "recovery_codes", "active", "2026-11-02"),
        (6, _S, "recovery_codes", "active", "2026-11-03"),
        (7, _OTHER, "totp", "active", "2026-11-01"),
        (8, _S, "password", "active", "2026-11-01"),
    ]
    for number, owner, kind, status, at in rows:
        values = {
            "id": f"{number:032x}",
            "subject": owner,
            "type": kind,
            "status": status,
            "at": at,
            "sealed": b"sealed",
        }
        connection.execute(text(authenticator), values)
    for number, owner in ((51, 5), (61, 6)):
        values = {
            "id": f"{number:032x}",
            "authenticator": f"{owner:032x}",
            "subject": _S,
            "sealed": b"sealed",
        }
        connection.execute(text(code), values)
    given = [
        # Two at once, both in force.
        (1, _S, "face", "2026-11-02", None),
        (2, _S, "face", "2026-11-03", None),
        # Two at once, of which the withdrawal ended one.
        (3, _S, "behavior", "2026-11-02", None),
        (4, _S, "behavior", "2026-11-03", "2026-11-04"),
        # In order: superseded, and given anew after a withdrawal.
        (5, _S, "terms", "2026-11-02", "2026-11-03"),
        (6, _S, "terms", "2026-11-03", None),
        (7, _OTHER, "face", "2026-11-01", "2026-11-02"),
        (8, _OTHER, "face", "2026-11-03", None),
    ]
    for number, owner, purpose, at, until in given:
        values = {
            "id": f"{number:032x}",
            "subject": owner,
            "purpose": purpose,
            "at": at,
            "until": until,
        }
        connection.execute(text(consent), values)


def test_of_what_was_there_twice_the_newest_stays(engine):
    """One active authenticator of a type and one consent in force; a withdrawal ends both."""
    migrate.upgrade(engine, "0009")
    with engine.begin() as connection:
        _twice(connection)
    migrate.upgrade(engine)

    def numbers(query):
        with engine.connect() as connection:
            return sorted(
                int(str(found).replace("-", ""), 16)
                for found in connection.execute(text(query)).scalars()
            )

    assert numbers("SELECT id FROM authenticator WHERE status = 'active'") == [2, 6, 7, 8]
    assert numbers("SELECT id FROM authenticator WHERE status = 'pending'") == [4]
    assert numbers("SELECT id FROM recovery_code") == [61]
    assert numbers("SELECT id FROM consent WHERE withdrawn_at IS NULL") == [2, 6, 8]
    with engine.connect() as connection:
        left = connection.execute(
            text("SELECT verifier FROM authenticator WHERE type = 'totp' AND status = 'revoked'")
        ).scalars()
        assert {bytes(cell) for cell in left} == {ERASED}


_SECOND_AUTHENTICATOR = (
    "INSERT INTO authenticator (id, subject_id, type, status, created_at, verifier)"
    " SELECT :new, subject_id, type, status, created_at, verifier FROM authenticator"
    " WHERE type = 'password'"
)
_SECOND_CONSENT = (
    "INSERT INTO consent (id, subject_id, purpose, version, text_hash, locale, channel, given_at)"
    " SELECT :new, subject_id, purpose, version, text_hash, locale, channel, given_at FROM consent"
    " WHERE withdrawn_at IS NULL AND purpose = 'terms'"
)


@pytest.mark.parametrize("repeated", [_SECOND_AUTHENTICATOR, _SECOND_CONSENT])
def test_the_database_itself_refuses_a_second_one(engine, repeated):
    """Whoever writes past the rule of the lock meets a unique index."""
    migrate.upgrade(engine, "0009")
    with engine.begin() as connection:
        _twice(connection)
    migrate.upgrade(engine)
    statement = text(repeated).bindparams(bindparam("new", uuid.UUID(int=99), Uuid()))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(statement)


def test_sessions_of_before_are_in_force_unless_their_code_is_out(engine):
    """Revision 0012 leaves those that wait for an exchange waiting, and back again ends them."""
    migrate.upgrade(engine, "0009")
    who, at = UUID(int=1).hex, datetime(2026, 11, 24, tzinfo=UTC)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO subject (id, status, segment, client_id, created_at, updated_at) "
                "VALUES (:id, 'active', 'default', :id, :at, :at)"
            ),
            {"id": who, "at": at},
        )
        for number, used in ((2, at), (3, None)):
            session = {"id": UUID(int=number).hex, "who": who, "at": at, "evidence": b"\xf9"}
            connection.execute(
                text(
                    "INSERT INTO session (id, subject_id, client_id, created_at, last_seen_at, "
                    "expires_at, idle_seconds, evidence) "
                    "VALUES (:id, :who, :who, :at, :at, :at, 60, :evidence)"
                ),
                session,
            )
            code = {"digest": bytes([number]), "id": session["id"], "who": who, "at": at}
            connection.execute(
                text(
                    "INSERT INTO completion_code (digest, client_id, session_id, expires_at, "
                    "used_at) VALUES (:digest, :who, :id, :at, :used)"
                ),
                code | {"used": used},
            )
    migrate.upgrade(engine, "0012")
    assert told(engine, "taken_up_at") == [True, False]
    migrate.downgrade(engine, "0009")
    assert told(engine, "revoked_at") == [False, True]


def told(engine, column):
    """Return for each session, the first first, whether a time is set."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM session ORDER BY id")).mappings()
        return [row[column] is not None for row in rows]
