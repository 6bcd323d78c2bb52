"""Migration 0011: what was verified stays so, row by row, up and down."""

import pytest
from sqlalchemy import text

import service.app.container  # noqa: F401 - so that every table is known
from service.store import migrate

SUBJECT = (
    "INSERT INTO subject (id, status, segment, client_id, created_at, updated_at,"
    " email_verified_at, phone_verified_at) VALUES (:id, 'active', 'default', :id,"
    " '2026-01-01 00:00:00', '2026-01-01 00:00:00', :email, :phone)"
)
INDEX = (
    "INSERT INTO subject_index (id, field, key_version, digest, subject_id)"
    " VALUES (:id, :field, :version, :digest, :subject)"
)
CODE = (
    "INSERT INTO verification_code (id, subject_id, field, expires_at, attempts, code)"
    " VALUES (:id, :id, 'email', '2026-01-01 00:10:00', 3, :code)"
)
GOLDEN = [
    # name, field, version, digest, subject, verified after the migration
    (1, "username", 1, b"alice", 1, "2026-01-01"),
    (2, "email", 1, b"a@x", 1, "2026-02-01"),
    (3, "email", 2, b"a@x2", 1, "2026-02-01"),
    (4, "phone", 1, b"+49", 1, None),
    (5, "email", 1, b"b@x", 2, None),
    (6, "phone", 1, b"+50", 2, "2026-03-01"),
]


@pytest.fixture
def engine(released):
    """An engine over a database of the revision before."""
    return released


def name(number):
    """Return the id of a golden row."""
    return f"00000000-0000-0000-0000-{number:012}"


def stored(engine, number):
    """Return an id as the database keeps it."""
    return name(number).replace("-", "") if engine.dialect.name == "sqlite" else name(number)


def fill(engine, rows):
    """Write two subjects, with what leads to them and what refers to them."""
    with engine.begin() as connection:
        for number, email, phone in ((1, "2026-02-01 00:00:00", None), (2, None, "2026-03-01")):
            values = {"id": stored(engine, number), "email": email, "phone": phone}
            connection.execute(text(SUBJECT), values)
            connection.execute(text(CODE), {"id": stored(engine, number), "code": b"c"})
        for number, field, version, digest, subject, _ in rows:
            connection.execute(
                text(INDEX),
                {
                    "id": stored(engine, number),
                    "field": field,
                    "version": version,
                    "digest": digest,
                    "subject": stored(engine, subject),
                },
            )


def verified(engine):
    """Return the day on which each row of the index was verified."""
    query = "SELECT id, verified_at FROM subject_index ORDER BY id"
    with engine.connect() as connection:
        return [
            (int(str(row.id).replace("-", "")), row.verified_at and str(row.verified_at)[:10])
            for row in connection.execute(text(query))
        ]


def test_what_was_verified_stays_so(engine):
    """Usernames from their registration, addresses from their verification, or not at all."""
    fill(engine, GOLDEN)
    migrate.upgrade(engine, "0011")
    assert verified(engine) == [(row[0], row[5]) for row in GOLDEN]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM subject")) == 2
        assert connection.scalar(text("SELECT count(*) FROM verification_code")) == 0
    migrate.downgrade(engine, "0009")
    query = "SELECT email_verified_at, phone_verified_at FROM subject ORDER BY id"
    with engine.connect() as connection:
        times = [[str(time)[:10] for time in row] for row in connection.execute(text(query))]
        assert times == [["2026-02-01", "None"], ["None", "2026-03-01"]]
        assert connection.scalar(text("SELECT count(*) FROM subject_index")) == len(GOLDEN)
    migrate.upgrade(engine, "0011")
    assert verified(engine) == [(row[0], row[5]) for row in GOLDEN]


def test_of_two_identifiers_that_a_race_left_the_later_is_to_be_proven_anew(engine):
    """Nobody can tell which of them was verified; a username stays the one that came last."""
    twice = [(7, "email", 1, b"late@x", 1, None), (8, "username", 1, b"late", 1, "2026-01-01")]
    fill(engine, [*GOLDEN, *twice])
    migrate.upgrade(engine, "0011")
    assert verified(engine) == [
        (3, "2026-02-01"),
        (4, None),
        (5, None),
        (6, "2026-03-01"),
        (7, None),
        (8, "2026-01-01"),
    ]


def test_down_keeps_one_claim_of_an_address(engine):
    """The owner's, else the first; before, an address had one row."""
    fill(engine, GOLDEN)
    migrate.upgrade(engine, "0011")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE subject_index SET digest = :digest WHERE id = :id"),
            {"digest": b"a@x", "id": stored(engine, 5)},
        )
    migrate.downgrade(engine, "0009")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id FROM subject_index ORDER BY id"))
        left = [int(str(row.id).replace("-", "")) for row in rows]
    assert left == [1, 2, 3, 4, 6]
