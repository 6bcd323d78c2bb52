"""A process that is not given a class of keys reads nothing of it, and says so."""

import pytest

from crypto.errors import KeyUnavailable
from crypto.keyring import KEY_CLASSES
from service.app import create_app, open_container
from service.keys.model import InstanceKeys
from tests.functional.conftest import CONSENT, PASSWORD


@pytest.fixture
def without(service, settings, clock):
    """A second process without the biometric class."""
    classes = tuple(name for name in KEY_CLASSES if name != "biometric")
    container = open_container(settings.model_copy(update={"key_classes": classes}), clock)
    yield container
    container.store.engine.dispose()


def test_the_face_is_unavailable_and_nothing_of_it_is_read(service, without):
    """The rest of the login works; what is sealed as biometric does not open there."""
    person = service.register(consents=[CONSENT | {"purpose": "face"}])
    with service.container.store.transaction() as tx:
        from uuid import UUID

        from service.domain.authenticator import Status

        enrolled = service.container.authenticators.add(
            tx, UUID(person.id), "face", b"template", status=Status.ACTIVE
        )
    assert "biometric" not in without.key_store.classes()
    from service.authenticators.store import authenticators as store

    with without.store.transaction() as tx, pytest.raises(KeyUnavailable, match="biometric"):
        store.get(tx, enrolled.id).verifier  # noqa: B018 - reading is what is refused
    http = create_app(without).test_client()
    bearer = {"Authorization": f"Bearer {service.bearer}"}
    path = f"/v1/subjects/{person.id}/authenticators"
    refused = http.post(path, json={"type": "face"}, headers=bearer)
    assert refused.status_code == 503, refused.json
    assert refused.headers["Retry-After"]
    flow = http.post("/v1/flows", json={"kind": "login", "identifier": "alice"}, headers=bearer)
    act = flow.json["actions"]["password"]["href"]
    headers = bearer | {"Flow-Token": flow.json["flow_token"]}
    assert http.post(act, json={"password": PASSWORD}, headers=headers).status_code == 200


def test_a_promotion_asks_only_those_who_use_the_class(service, without):
    """An instance without the class does not hold back the promotion of its keys."""
    keys = service.container.keys
    with service.container.store.transaction() as tx:
        keys.lifecycle.generate_kek(tx, "biometric", "op")
    keys.instances.beat()
    without.keys.instances.beat()
    with service.container.store.transaction() as tx:
        told = {len(item.held.classes): item.held for item in keys.instances.listed(tx)}
        assert InstanceKeys.from_json(told[9].to_json()) == told[9]
        assert keys.lifecycle.promote_kek(tx, "biometric", "op") == 2
    keys.instances.stop()
    with service.container.store.transaction() as tx:
        assert len(keys.instances.listed(tx)) == 1
