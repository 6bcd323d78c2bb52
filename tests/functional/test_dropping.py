"""What has ended is found by an index, a page at a time, however much has not ended."""

import re

import pytest
from sqlalchemy import event, text

INDEXES = {
    "authenticator": "ix_authenticator_ended",
    "completion_code": "ix_completion_code_expires_at",
    "grant": "ix_grant_expires_at",
    "kept_answer": "ix_kept_answer_expires_at",
    "login_context_failure": "ix_login_context_failure_at",
    "policy_decision": "pk_policy_decision",
    "refresh_token": "ix_refresh_token_expires_at",
    "revoked_token": "ix_revoked_token_expires_at",
    "session": "ix_session_expires_at ix_session_revoked_at ix_session_untaken",
    "totp_used_step": "ix_totp_used_step_step",
    "used_assertion": "ix_used_assertion_expires_at",
    "verification_code": "ix_verification_code_expires_at",
}
"""The indexes by which a page of what has ended is found, by table."""


@pytest.fixture
def asked(service):
    """The statements that look for what has ended, with their values, as the worker makes them."""
    engine = service.container.store.engine
    if engine.dialect.name != "postgresql":
        pytest.skip("the plans of PostgreSQL: its tables are the large ones")
    found = []

    def note(_connection, _cursor, statement, parameters, *_more):
        if "SKIP LOCKED" in statement:
            found.append((statement, parameters))

    service.clock.advance(days=2)
    event.listen(engine, "before_cursor_execute", note)
    service.container.jobs.run_due()
    event.remove(engine, "before_cursor_execute", note)
    return found


def test_each_table_is_dropped_from_by_its_index(service, asked):
    """The plan of its page names the index."""
    plans = {}
    with service.container.store.engine.connect() as connection:
        # The tables are nearly empty: ways that suit those are left out.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            connection.execute(text(f"SET LOCAL enable_{way} = off"))
        for statement, parameters in asked:
            table = re.search(r"FROM\s+\"?(\w+)", statement)[1]
            lines = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
            plans.setdefault(table, []).append("\n".join(lines))
    for table, names in INDEXES.items():
        assert any(all(name in plan for name in names.split()) for plan in plans[table]), plans[
            table
        ]
