"""Every column is sealed or may be seen, and every table says what it holds about people."""

import service.app.container  # noqa: F401 - so that every table is known
from service.store.base import Base
from service.store.fields import sealed_tables
from service.store.personal_data import Personal, PersonalTable, held, unlinked
from service.store.shapes import shapes

# What is no personal data: ids, times, states, counts, names of kinds, digests under a key.
PUBLIC = {
    "approval": "id act target params reason status requested_by decided_by created_at expires_at "
    "used_at",
    "audit_leaf": "id at kind subject_id actor data position",
    "audit_link": "position leaf_id head mac",
    "audit_checkpoint": "number position head start began_at at adopted signature mac",
    "audit_notice": "name at",
    "authenticator": "id subject_id type status created_at confirmed_at last_used_at session_id "
    "begun_by",
    "behavior_profile": "id subject_id device_class signal password_id samples absent updated_at",
    "bootstrap_token": "digest round seat expires_at used_at",
    "canary": "subject_id created_at",
    "client": "id name status scopes first_party asserts_context segments jwks created_at old_jwks "
    "old_jwks_until old_secret_until",
    "completion_code": "digest client_id session_id expires_at used_at",
    "consent": "id subject_id purpose version text_hash locale channel given_at withdrawn_at",
    "data_generation": "key_class generation since",
    "dek": "id owner_kind owner_id key_class generation kek_version wrapped created_at",
    "face_template_secret": "id authenticator_id subject_id created_at",
    "flow": "id client_id token_digest revision expires_at",
    "grant": "id digest subject_id client_id act session_id expires_at used_at",
    "index_key": "version status created_at changed_at",
    "job_lease": "name holder until",
    "kek": "id key_class version status wrapped created_at changed_at destroy_after",
    "kept_answer": "id client_id name body_mac status content_type expires_at",
    "key_export": "id created_at expires_at keys",
    "key_instance": "id label started_at seen_at held",
    "known_device": "id subject_id generation created_at expires_at",
    "legal_hold": "subject_id until reason set_at",
    "limit_count": "id bucket times next_at ends_at changes was_times was_next_at was_ends_at",
    "login_context_failure": "id at subject_digest network_digest known_device",
    "login_context_history": "id subject_id updated_at",
    "login_context_population": "digest weight",
    "login_context_seen": "id at digests",
    "login_context_tally": "window failures",
    "long_job": "id kind params status actor done total report created_at started_at finished_at",
    "operator_role": "subject_id role granted_at granted_by",
    "outbox": "id at kind subject_id channel client_id until routed_at delivered_at",
    "delivery": "id message_id target state attempts next_at until error ended_at",
    "webhook": "id url kinds client_id created_at old_until",
    "row_mark": "id since position checked_at",
    "record_key": "id kid public_jwk created_at ended_at",
    "policy_decision": "id subject_id at policy segment purpose effect shadow shadow_change",
    "policy_document": "id version name created_at created_by validated_at",
    "policy_state": "id revision changed_at",
    "recovery_code": "id authenticator_id subject_id used_at",
    "refresh_token": "id digest client_id session_id scope expires_at used_at",
    "revoked_token": "jti expires_at",
    "root_version": "key_class version made_at",
    "session": "id subject_id client_id created_at last_seen_at expires_at idle_seconds revoked_at "
    "taken_up_at replaces device_id",
    "signing_key": "id kid status public_jwk created_at changed_at",
    "subject": "id status segment client_id created_at updated_at first_login_at",
    "subject_risk": "id subject_id since",
    "subject_export": "id subject_id actor created_at expires_at",
    "subject_recovery": "id subject_id approval_id act status asked_by approved_by asked_at due_at "
    "ends_at address digest",
    "subject_index": "id field key_version digest subject_id verified_at form",
    "suspension": "id subject_id capability reason since",
    "throttle": "was was_locked_until was_updated_at "
    "id bucket lane knowledge other face strict total era locked_until updated_at "
    "changes",
    "tombstone": "id subject_id classes erased_at horizon certificate",
    "totp_used_step": "authenticator_id step",
    "used_assertion": "client_id jti expires_at",
    "verification_code": "id subject_id field expires_at",
}


def test_a_column_is_sealed_or_on_the_public_list():
    """A new column fails here until somebody has decided which it is."""
    sealed = {(table.name, field.name) for table in sealed_tables() for field in table.fields}
    told = {(table, column) for table, columns in PUBLIC.items() for column in columns.split()}
    told |= {(shape.table.name, "mac") for shape in shapes() if shape.keyed}
    there = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
    }
    assert there - sealed - told == set()
    assert (told | sealed) - there == set()
    assert told & sealed == set()


# Tables that say nothing about any person: keys, clients, rules, counts of everybody.
NOBODY = {
    "audit_checkpoint",
    "audit_link",
    "audit_notice",
    "bootstrap_token",
    "client",
    "data_generation",
    "index_key",
    "job_lease",
    "kek",
    "key_export",
    "key_instance",
    "login_context_population",
    "login_context_tally",
    "policy_state",
    "record_key",
    "revoked_token",
    "root_version",
    "signing_key",
    "used_assertion",
    "row_mark",
    "webhook",
}


def test_every_table_is_in_the_export_or_holds_nothing_about_anybody():
    """A new table fails here until its class says what it holds about people, or it is listed."""
    linked = {item.name for item in held()}
    named = {item["name"] for item in unlinked()}
    assert not linked & named
    assert (linked | named | NOBODY) == set(Base.metadata.tables)
    assert not (linked | named) & NOBODY


def test_a_table_that_leads_to_a_subject_is_in_the_export():
    """Neither a column that names a subject nor a key to such a row can be listed as nobody's."""
    linked = {item.name for item in held()}
    for table in Base.metadata.tables.values():
        leads = {key.column.table.name for key in table.foreign_keys} & linked
        if leads or "subject_id" in table.columns:
            assert table.name in linked, table.name


def test_what_is_sealed_or_binary_is_shown_or_withheld_with_a_reason():
    """Nothing stays back without being named, and nothing is both."""
    for item in held():
        shown, withheld = item.declared.shown.keys(), item.withheld.keys()
        assert item.hidden <= shown | withheld, item.name
        assert not {name for name in withheld if name in shown}, item.name
        assert item.declared.purpose
        assert item.declared.retention


def test_secrets_are_withheld_everywhere():
    """What would let somebody pass for the person is in no export."""
    given = {(item.name, column) for item in held() for column in item.given}
    secrets = {
        ("authenticator", "verifier"),
        ("recovery_code", "digest"),
        ("grant", "digest"),
        ("verification_code", "code"),
        ("face_template_secret", "secret"),
        ("behavior_profile", "content"),
        ("refresh_token", "successor"),
        ("refresh_token", "digest"),
        ("completion_code", "digest"),
        ("dek", "wrapped"),
        ("subject_index", "digest"),
        ("subject_export", "content"),
        ("subject_recovery", "address"),
        ("subject_recovery", "digest"),
    }
    assert not secrets & given


def test_a_sealed_column_that_nobody_spoke_of_stays_back():
    """Forgetting to say how a sealed column is shown withholds it."""
    (subject,) = [item for item in held() if item.name == "subject"]
    silent = PersonalTable(subject.model, Personal(purpose="test", retention="test"))
    assert not {"username", "email", "phone", "profile"} & set(silent.given)
    assert "segment" in silent.given
