"""People with behavioral profiles, and fixtures of the behavior signal."""

import json
from uuid import UUID

import pytest
from sqlalchemy import text

from biometrics.behavior.model import DEFAULT, load
from service.domain.assurance import Acr
from service.risk.model import ClientContext, SignalFacts
from service.signals.behavior.actions import Behaviors, BehaviorSignal
from tests.functional.conftest import CONSENT
from tests.typists import typists, wire

HOME = ClientContext(user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/140.0", asserted=True)


FIRST = UUID(int=101)


@pytest.fixture(scope="module")
def models():
    return load(DEFAULT)


@pytest.fixture(scope="module")
def people():
    return typists(4)


@pytest.fixture
def behaviors(container, models):
    """The profiles with the shipped models."""
    return Behaviors(
        accounts=container.accounts,
        models=models,
        audit=container.audit,
        outbox=container.outbox,
        clock=container.clock,
    )


@pytest.fixture
def signal(behaviors):
    """The signal over them."""
    return BehaviorSignal(behaviors)


def agreed(container, name="alice"):
    """Register somebody who agreed to behavior."""
    account = container.register(username=name)
    with container.store.transaction() as tx:
        container.accounts.consents.give(tx, account.id, CONSENT | {"purpose": "behavior"})
    return account.id


def facts(container, subject, row=None, *, level=Acr.AAL2, password=FIRST, where=HOME, **more):
    """Return what is known of a login in which a sample was typed."""
    samples = {} if row is None else {"password": json.dumps(wire(row, **more))}
    return SignalFacts(
        subject=subject,
        flow="flow",
        client=UUID(int=2),
        segment="default",
        now=container.clock.now(),
        client_context=where,
        samples=samples,
        shown=("password",),
        known_device=False,
        password=password,
        level=level,
    )


def teach(container, signal, subject, rows, **more):
    """Let logins be learned."""
    with container.store.transaction() as tx:
        for row in rows:
            signal.learn(tx, facts(container, subject, row, **more))


def assess(container, signal, subject, row=None, **more):
    """Return the assessment of a login."""
    with container.store.transaction() as tx:
        return signal.assess(tx, facts(container, subject, row, **more))


def codes(found):
    """Return the codes of the reasons."""
    return {reason.code for reason in found.reasons}


def rows(container):
    """Return the stored rows."""
    with container.store.engine.connect() as connection:
        return connection.execute(text("SELECT * FROM behavior_profile ORDER BY id")).all()
