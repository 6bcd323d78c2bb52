"""Every tier of keys rotates while people sign in, and everything still opens."""

import pytest
from sqlalchemy import text

from service.app import open_container
from service.domain.errors import Conflict, NotFound
from service.keys.model import IndexStatus
from service.keys.store import roots

OPERATOR = "operator:test"


def tx_of(service):
    return service.container.store.transaction()


def verified(service):
    """Open everything; return the proof."""
    *_, proof = service.container.keys.proving.verify()
    return proof


def rotate_kek(service, key_class):
    """Generate, promote, rewrap."""
    keys = service.container.keys
    with tx_of(service) as tx:
        keys.lifecycle.generate_kek(tx, key_class, OPERATOR)
    keys.instances.beat()
    with tx_of(service) as tx:
        keys.lifecycle.promote_kek(tx, key_class, OPERATOR)
    service.clock.advance(seconds=6)
    return sum(page.moved for page in keys.moving.rewrap_pages(key_class))


def test_a_kek_rotates_and_the_old_one_is_retired_when_nothing_refers_to_it(service):
    """New data keys go under the new KEK at once, old ones by rewrap, and then it retires."""
    service.login(service.register())
    keys = service.container.keys
    assert rotate_kek(service, "factor") >= 1
    with tx_of(service) as tx:
        rows = [row for row in service.container.key_store.status(tx) if row["class"] == "factor"]
        assert [row["status"] for row in rows] == ["retiring", "active"]
        with pytest.raises(Conflict) as soon:
            keys.lifecycle.retire_keks(tx, "factor", OPERATOR)
        assert "more seconds" in soon.value.detail
    service.clock.advance(minutes=2)
    with tx_of(service) as tx:
        assert keys.lifecycle.retire_keks(tx, "factor", OPERATOR) == [1]
    service.login(service.register("bob"))
    assert verified(service).failed == 0


def test_a_root_rotates_under_a_running_process(service, settings, clock):
    """A process that runs on looks for a root that was made elsewhere, and then KEKs move to it."""
    other = open_container(settings, clock)
    service.login(service.register())
    running, host = service.container.keys.instances, other.keys
    running.beat()
    with other.store.transaction() as tx:
        assert host.lifecycle.grow_root(tx, "contact", OPERATOR) == 2
    with other.store.transaction() as tx, pytest.raises(Conflict) as early:
        host.moving.rewrap_roots(tx, "contact")
    assert early.value.code == "key_not_everywhere"
    clock.advance(seconds=5)
    running.beat()
    assert service.container.key_store.roots_held()["contact"] == 2
    with other.store.transaction() as tx:
        assert host.moving.rewrap_roots(tx, "contact").moved == 1
    with other.store.transaction() as tx:
        host.lifecycle.destroy_root(tx, "contact", 1, OPERATOR)
    clock.advance(seconds=5)
    service.bearer = service.access()
    assert service.register("bob")
    assert verified(service).complete
    other.store.engine.dispose()


def test_a_root_that_is_not_there_yet_is_asked_for_once_a_minute(service, monkeypatch):
    """A version that another host made and this one has not: the heart beats on."""
    asked, keys = [], service.container.keys
    reopen = service.container.key_store.reopen_root
    monkeypatch.setattr(
        service.container.key_store, "reopen_root", lambda name: asked.append(name) or reopen(name)
    )
    with tx_of(service) as tx:
        roots.announce(tx, "contact", 7, service.clock.now())
        roots.announce(tx, "contact", 3, service.clock.now())
        assert roots.announced(tx) == {"contact": 7}
    for _ in range(3):
        keys.instances.beat()
        service.clock.advance(seconds=5)
    assert asked == ["contact"]
    service.clock.advance(minutes=1)
    keys.instances.beat()
    assert asked == ["contact"] * 2


def test_a_kek_in_use_is_not_retired(service):
    """The refusal counts what refers to it and names the command that mends it."""
    service.register()
    keys = service.container.keys
    with tx_of(service) as tx:
        keys.lifecycle.generate_kek(tx, "contact", OPERATOR)
        keys.lifecycle.promote_kek(tx, "contact", OPERATOR)
    service.clock.advance(minutes=2)
    with tx_of(service) as tx, pytest.raises(Conflict) as used:
        keys.lifecycle.retire_keks(tx, "contact", OPERATOR)
    assert "lamina keys rewrap --tier kek --class contact" in used.value.detail


def test_a_promotion_waits_for_every_live_instance(service):
    """An instance that has not taken up the pending key holds the promotion back, by name."""
    keys = service.container.keys
    keys.instances.beat()
    with tx_of(service) as tx:
        keys.lifecycle.generate_kek(tx, "contact", OPERATOR)
        with pytest.raises(Conflict) as waiting:
            keys.lifecycle.promote_kek(tx, "contact", OPERATOR)
        assert "kek:contact:2 is not known everywhere" in waiting.value.detail
        with pytest.raises(Conflict):
            keys.lifecycle.generate_kek(tx, "contact", OPERATOR)
    service.clock.advance(minutes=1)  # the silent instance does not count any more
    with tx_of(service) as tx:
        assert keys.lifecycle.promote_kek(tx, "contact", OPERATOR) == 2
        with pytest.raises(NotFound):
            keys.lifecycle.promote_kek(tx, "contact", OPERATOR)


def test_a_kek_is_destroyed_after_its_grace_period(service):
    """Only a retired key can be scheduled, and it goes when its time has come."""
    from datetime import timedelta

    keys = service.container.keys
    rotate_kek(service, "behavior")
    for version, mend in (
        (1, "is retiring; first run: lamina keys retire --tier kek --class behavior"),
        (2, "is active; only a retired one is destroyed"),
    ):
        with tx_of(service) as tx, pytest.raises(Conflict) as refused:
            days = timedelta(days=7)
            keys.lifecycle.schedule_destruction(
                tx, key_class="behavior", version=version, grace=days, actor=OPERATOR
            )
        assert refused.value.detail.endswith(mend)
    service.clock.advance(minutes=2)
    with tx_of(service) as tx:
        keys.lifecycle.retire_keks(tx, "behavior", OPERATOR)
        with pytest.raises(Conflict):
            keys.lifecycle.schedule_destruction(
                tx, key_class="behavior", version=1, grace=timedelta(hours=1), actor=OPERATOR
            )
        with pytest.raises(NotFound):
            keys.lifecycle.schedule_destruction(
                tx, key_class="behavior", version=9, grace=timedelta(days=7), actor=OPERATOR
            )
        keys.lifecycle.schedule_destruction(
            tx, key_class="behavior", version=1, grace=timedelta(days=7), actor=OPERATOR
        )
        assert keys.lifecycle.destroy_due(tx) == []
    service.clock.advance(days=8)
    with tx_of(service) as tx:
        assert keys.lifecycle.destroy_due(tx) == [("behavior", 1)]
        versions = [
            r["version"] for r in service.container.key_store.status(tx) if r["class"] == "behavior"
        ]
        assert versions == [2]


def test_the_root_rotates_under_the_keks(service, settings):
    """A new root version is taken up without a restart, and the KEKs move to it."""
    _new_root(settings, "contact", 2)
    keys = service.container.keys
    keys.instances.beat()
    with tx_of(service) as tx, pytest.raises(Conflict) as behind:
        service.container.key_store.reopen_root("contact")
        keys.moving.rewrap_roots(tx, "contact")
    assert "root contact 2 is not held" in behind.value.detail
    keys.instances.beat()
    with tx_of(service) as tx:
        page = keys.moving.rewrap_roots(tx, "contact")
        assert (page.moved, page.bad) == (1, [])
        rows = [row for row in service.container.key_store.status(tx) if row["class"] == "contact"]
        assert [row["root_version"] for row in rows] == [2]


@pytest.mark.parametrize("key_class", ["contact", "factor", "service", "signing"])
def test_fields_are_sealed_anew_under_new_data_keys(service, key_class):
    """Re-encryption leaves no cell under an old data key and the old keys can be dropped."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    moving = service.container.keys.moving
    with tx_of(service) as tx:
        generation = moving.start_generation(tx, key_class)
    assert generation == 2
    service.clock.advance(seconds=20)
    with tx_of(service) as tx, pytest.raises(Conflict) as young:
        moving.drop_old_data_keys(tx, key_class)
    assert "more seconds" in young.value.detail
    service.clock.advance(seconds=45)
    with tx_of(service) as tx, pytest.raises(Conflict) as early:
        moving.drop_old_data_keys(tx, key_class)
    assert "lamina keys reencrypt" in early.value.detail
    pages = list(moving.reencrypt_pages(key_class, generation))
    assert sum(page.moved for page in pages) >= 1
    assert [line for page in pages for line in page.bad] == []
    with tx_of(service) as tx:
        assert moving.left_to_reencrypt(tx, key_class, generation) == 0
        assert moving.drop_old_data_keys(tx, key_class) >= 1
    proof = verified(service)
    assert proof.failed == 0
    assert not [name for name in proof.opened if name == f"{key_class}/1"]
    assert service.oauth("introspect", token=tokens["access_token"]).json["active"] is True
    service.clock.advance(seconds=60)
    service.bearer = service.access()
    service.login(person)


def test_reencryption_moves_no_time_and_writes_no_event(service):
    """Neither `updated_at` nor the outbox shows that fields were sealed anew."""
    service.register()
    moving = service.container.keys.moving
    query = text("SELECT updated_at FROM subject ORDER BY id")
    with tx_of(service) as tx:
        times = tx.execute(query).all()
        notices = tx.execute(text("SELECT count(*) FROM outbox")).scalar()
        generation = moving.start_generation(tx, "contact")
    list(moving.reencrypt_pages("contact", generation))
    with tx_of(service) as tx:
        assert tx.execute(query).all() == times
        assert tx.execute(text("SELECT count(*) FROM outbox")).scalar() == notices


def test_a_bad_row_is_named_and_the_rest_moves(service):
    """The job goes on past a cell that does not open, names the row and shows no secret."""
    service.register()
    service.register("bob")
    with tx_of(service) as tx:
        query = "SELECT id FROM subject WHERE username IS NOT NULL"
        victim = tx.execute(text(query)).scalar()
        short = tx.execute(text("SELECT username FROM subject WHERE id = :i"), {"i": victim})
        broken = bytes(short.scalar())[:-1]
        tx.execute(
            text("UPDATE subject SET username = :v WHERE id = :i"), {"v": broken, "i": victim}
        )
    moving = service.container.keys.moving
    with tx_of(service) as tx:
        generation = moving.start_generation(tx, "contact")
    pages = list(moving.reencrypt_pages("contact", generation))
    bad = [line for page in pages for line in page.bad]
    assert {line["table"] for line in bad} == {"subject"}
    assert {line["reason"] for line in bad} == {"the sealed value does not open"}
    assert sum(page.moved for page in pages) >= 1
    proof = verified(service)
    assert proof.failed == 1
    assert proof.to_json()["bad"][0]["column"] == "username"


def test_the_blind_index_rotates_while_people_register(service):  # noqa: PLR0915 - one rotation is one story
    """Both digests are written, the old ones are filled in, and no identifier is taken twice."""
    service.register()
    keys = service.container.keys

    def advance(**how):
        keys.instances.beat()
        with tx_of(service) as tx:
            return keys.lifecycle.advance_index(tx, OPERATOR, **how)

    with tx_of(service) as tx, pytest.raises(NotFound):
        keys.lifecycle.advance_index(tx, OPERATOR)
    with tx_of(service) as tx:
        assert keys.lifecycle.generate_index(tx, OPERATOR) == 2
        with pytest.raises(Conflict):
            keys.lifecycle.generate_index(tx, OPERATOR)
    advance()
    service.clock.advance(seconds=6)
    service.register("bob")
    assert taken(service, "alice")
    assert taken(service, "bob")
    with pytest.raises(Conflict):
        advance()
    service.clock.advance(minutes=2)
    service.bearer = service.access()
    with pytest.raises(Conflict):
        advance()
    with tx_of(service) as tx:
        assert keys.indexing.left(tx, 2) == 1
    assert sum(page.moved for page in keys.indexing.fill_pages(2)) == 1
    assert advance(filled=True) == "index 2 is in use"
    service.clock.advance(minutes=2)
    service.bearer = service.access()
    assert taken(service, "alice")
    assert taken(service, "bob")
    service.register("carol")
    assert advance() == "index 1 is dropped"
    service.clock.advance(seconds=6)
    keys.instances.beat()
    assert sum(page.moved for page in keys.indexing.drop_pages()) == 3
    assert taken(service, "alice")
    assert taken(service, "bob")
    assert taken(service, "carol")
    with tx_of(service) as tx:
        versions = set(tx.execute(text("SELECT key_version FROM subject_index")).scalars())
    assert versions == {2}
    assert IndexStatus.ACTIVE in service.container.key_store.held().values()


def taken(service, name):
    """Tell whether a username leads to its holder and cannot be registered again."""
    found = service.call("POST", "/v1/subjects/lookup", {"identifier": name})
    again = service.call("POST", "/v1/subjects", {"identifiers": {"username": name}})
    return found.status_code == 200 and again.status_code == 409


def test_no_token_is_refused_while_the_signing_key_rotates(service):  # noqa: PLR0915 - one rotation is one story
    """The key set shows a key before it signs and after it has signed, until tokens are over."""
    keys, token = service.container.keys, service.bearer
    with tx_of(service) as tx:
        kid = keys.lifecycle.generate_signing(tx, OPERATOR)
        with pytest.raises(Conflict):
            keys.lifecycle.generate_signing(tx, OPERATOR)
    keys.instances.beat()
    published = service.http.get("/.well-known/jwks.json")
    assert kid in {key["kid"] for key in published.json["keys"]}
    assert published.headers["Cache-Control"] == "public, max-age=300"
    with tx_of(service) as tx, pytest.raises(Conflict) as soon:
        keys.lifecycle.promote_signing(tx, OPERATOR)
    assert "more seconds" in soon.value.detail
    service.clock.advance(seconds=299)
    assert service.call("GET", f"/v1/subjects/{service.client_id}", bearer=token).status_code == 404
    service.bearer = token = service.access()
    service.clock.advance(seconds=2)
    keys.instances.beat()
    with tx_of(service) as tx:
        assert keys.lifecycle.promote_signing(tx, OPERATOR) == kid
        with pytest.raises(Conflict):
            keys.lifecycle.destroy_signing(tx, OPERATOR)
    service.clock.advance(seconds=6)
    keys.instances.beat()
    assert service.call("GET", f"/v1/subjects/{service.client_id}", bearer=token).status_code == 404
    fresh = service.access()
    assert service.call("GET", f"/v1/subjects/{service.client_id}", bearer=fresh).status_code == 404
    service.clock.advance(minutes=7)
    with tx_of(service) as tx:
        assert len(keys.lifecycle.destroy_signing(tx, OPERATOR)) == 1
    keys.instances.beat()
    assert [key["kid"] for key in service.http.get("/.well-known/jwks.json").json["keys"]] == [kid]


def _path(settings):
    from pathlib import Path

    return Path(settings.root_key.removeprefix("file:"))


def _new_root(settings, key_class, version):
    from crypto.providers.file import FileRoot

    assert FileRoot.open(_path(settings), [key_class]).grow(key_class) == version


def test_a_job_that_was_killed_at_its_end_begins_no_new_generation(service):
    """Taken up again it finds its generation done: nothing is sealed anew a second time."""
    service.register()
    container = service.container
    jobs = container.key_admin.jobs
    with container.store.transaction() as tx:
        number = jobs.plan(
            tx, "reencrypt", container.key_admin.params("reencrypt", None, "contact"), "t"
        )
    assert jobs.run(number)["done"] >= 1
    with container.store.transaction() as tx:
        tx.execute(text("UPDATE long_job SET status = 'running', finished_at = NULL"))
    assert jobs.run(number)["done"] == 0
    with container.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT generation FROM data_generation")).scalars().all() == [2]
