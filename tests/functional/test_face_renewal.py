"""`lamina face renew`, as an operator runs it: new secrets without the people."""

import json
from uuid import UUID

import pytest
from click.testing import CliRunner

from service.cli import main
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import Mode
from service.factors.face.store import TemplateSecret
from tests.functional.conftest import CONSENT
from tests.functional.test_face import HERS, MINE, enroll
from tests.functional.test_face_score import score


@pytest.fixture
def faces(service, face_engine):
    """The service with a face engine."""
    service.container.face._reader = EnginePool(lambda: face_engine, 1)
    service.container.face._mode = Mode.PASSIVE
    return service


@pytest.fixture
def people(faces):
    """Two with a face, and one without."""
    found = [
        faces.register(name, consents=[CONSENT | {"purpose": "face"}]) for name in ("ada", "eve")
    ]
    assert enroll(faces, found[0], *MINE[:3]).status_code == 200
    assert enroll(faces, found[1], *HERS[:3]).status_code == 200
    return (*found, faces.register("bob"))


@pytest.fixture
def lamina(faces, tmp_path, monkeypatch):
    """Run a command on the same database, in a process's own house."""
    monkeypatch.chdir(tmp_path)
    settings = faces.container.settings
    environment = {
        "LAMINA_MODE": "development",
        "LAMINA_FACE_ENGINE": "off",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
    }
    return lambda *arguments: CliRunner().invoke(main, ["face", *arguments], env=environment)


def stored(service, person):
    """Return the template and the secret of somebody."""
    with service.container.store.transaction(read=True) as tx:
        material = service.container.face.load(tx, UUID(person.id))
    return material.verifier.secret, material.secret


def put(service, person, template):
    """Put a template in the place of the stored one."""
    with service.container.store.transaction() as tx:
        row = tx.query(TemplateSecret).filter_by(subject_id=UUID(person.id)).one()
        service.container.authenticators.rewrite(tx, row.authenticator_id, template)


def test_every_face_passes_after_it_and_no_old_template_does(faces, people, lamina):
    """Template and secret of each are others; the bytes of before match nobody any more."""
    ada, eve, _ = people
    before = {person.name: stored(faces, person) for person in (ada, eve)}
    done = lamina("renew", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"renewed": 2})
    for person in (ada, eve):
        for old, new in zip(before[person.name], stored(faces, person), strict=True):
            assert len(old) == len(new)
            assert old != new
    assert score(faces, ada, MINE[4]).json["matched"] is True
    assert score(faces, eve, HERS[4]).json["matched"] is True
    renewed = stored(faces, ada)[0]
    put(faces, ada, before["ada"][0])
    assert score(faces, ada, MINE[5]).json["matched"] is False
    put(faces, ada, renewed)
    assert score(faces, ada, MINE[5]).json["matched"] is True


def test_one_subject_may_be_renewed_alone(faces, people, lamina):
    """The others stay as they are; frames that were accepted stay used."""
    ada, eve, bob = people
    assert score(faces, ada, MINE[4]).json["matched"] is True
    before = [stored(faces, person) for person in (ada, eve)]
    assert lamina("renew", "--subject", ada.id).exit_code == 0
    assert stored(faces, ada) != before[0]
    assert stored(faces, eve) == before[1]
    assert score(faces, ada, MINE[4]).json["matched"] is False
    assert score(faces, ada, MINE[5]).json["matched"] is True
    none = lamina("renew", "--subject", bob.id)
    assert none.exit_code == 1
    assert none.stderr.count("\n") == 1
    assert stored(faces, eve) == before[1]


def test_a_renewal_that_is_cut_short_leaves_whole_faces(faces, people, lamina, monkeypatch):
    """A fault at the second subject rolls its unit of work back: each old pair still matches."""
    from biometrics.face import template

    before = [stored(faces, person) for person in people[:2]]
    calls = []

    def renew(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise template.BadTemplate
        return template.renew_template(*arguments)

    monkeypatch.setattr("service.factors.face.actions.renew_template", renew)
    assert lamina("renew").exit_code != 0
    assert [stored(faces, person) for person in people[:2]] == before
    monkeypatch.undo()
    assert score(faces, people[0], MINE[4]).json["matched"] is True
