"""Budgets of questions about a person: no mix of clients, answers and times passes one."""

import os
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from service.factors.face.model import Mode
from service.signals.behavior.actions.api import BY_CLIENT, OF_SUBJECT
from service.throttling.model import FACE_TOTAL
from tests.depth import depth
from tests.functional.behaving import AGREED, settle
from tests.functional.conftest import CONSENT
from tests.functional.test_face import enroll, frames
from tests.races.processes import Camera
from tests.typists import typists, wire

# Of 100 questions none is beyond a budget: the first client asks a person 60 times in some 150.
QUERIES = int(os.environ.get("LAMINA_TEST_QUERIES", depth(400, 200)))
_RENEW = timedelta(minutes=4)
_UNEVEN = (8, 1, 1)


class Two(Camera):
    """A camera that sees one person, and somebody else in a picture that says so."""

    def _read(self, frame):
        found = super()._read(frame)
        if frame.image.startswith(b"other"):
            turned = found.vector * np.tile([1, -1], found.vector.size // 2)
            return replace(found, vector=turned.astype(np.float32))
        return found


class Window:
    """How often something may be asked, counted from the first time on."""

    def __init__(self, rule):
        self.rule, self.count, self.ends = rule, 0, None

    def take(self, now):
        """Tell whether one more may be asked now, and count it."""
        if self.ends is None or now >= self.ends:
            self.count, self.ends = 0, now + self.rule.span
        if self.count >= self.rule.most:
            return False
        self.count += 1
        return True


class Asker:
    """Three clients that ask about three people, at times that nobody foresees."""

    def __init__(self, service):
        self.service, self.chance = service, random.Random(20261130)
        self.rows = [wire(row) for person in typists(3) for row in person[10:30]]
        self.people = [
            service.register(name, consents=[*AGREED, CONSENT | {"purpose": "face"}])
            for name in ("alice", "bob", "carol")
        ]
        self.clients = [service.new_client(name=f"shop {number}") for number in range(3)]
        self.windows, self.renewed = {}, None
        self.asked, self.missed = Counter(), Counter()

    def bearer(self):
        """Return a client and a token of it that is still good."""
        now = self.service.clock.now()
        if self.renewed is None or now - self.renewed > _RENEW:
            self.tokens = [self.service.access(client) for client in self.clients]
            self.renewed = now
        (number,) = self.chance.choices((0, 1, 2), _UNEVEN)
        return number, self.tokens[number]

    def wait(self):
        """Let some time pass: hardly any between most questions, minutes or hours now and then."""
        long = self.chance.random() < 1 / 300
        seconds = self.chance.uniform(600, 7200) if long else self.chance.choice((0, 0, 0, 1))
        self.service.clock.advance(seconds=seconds)

    def whom(self):
        """Return one of the people, the first most often."""
        return self.chance.choices(self.people, _UNEVEN)[0]

    def behavior(self):
        """Ask for a score: of the person, of a stranger, of nearly the same as before."""
        who, (client, bearer) = self.whom(), self.bearer()
        path = f"/v1/subjects/{who.id}/behavior/score"
        body = {"behavior": self.chance.choice(self.rows)}
        told = self.service.call("POST", path, body, bearer=bearer)
        now = self.service.clock.now()
        allowed = self._window(BY_CLIENT, who, client).take(now)
        allowed = allowed and self._window(OF_SUBJECT, who).take(now)
        assert told.status_code == (200 if allowed else 429), (told.json, self.asked)
        self.asked["behavior", told.status_code] += 1

    def face(self):
        """Ask whether a picture shows the person: theirs, theirs again, somebody else's."""
        who, (_, bearer) = self.whom(), self.bearer()
        image = self.chance.choice(
            (
                b"mine %d" % self.chance.randrange(10**9),
                b"mine again",
                b"other %d" % self.chance.randrange(10**9),
            )
        )
        path = f"/v1/subjects/{who.id}/face/score"
        told = self.service.call("POST", path, {"frames": frames(image)}, bearer=bearer)
        assert told.status_code in {200, 429}, told.json
        self.asked["face", told.status_code] += 1
        if told.status_code == 200 and not told.json["matched"]:
            self.missed[who.id] += 1

    def _window(self, rule, *names):
        key = (rule.name, *(getattr(name, "id", name) for name in names))
        return self.windows.setdefault(key, Window(rule))


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_no_mix_of_questions_passes_a_budget(service):
    """A success refills nothing, and neither another client nor a near copy begins anew."""
    service.container.face._reader, service.container.face._mode = Two(), Mode.OFF
    asker = Asker(service)
    for person in asker.people:
        assert enroll(service, person, b"one", b"two", b"three").status_code == 200
    settle(service, asker.people[0], typists(3)[0][:8])
    for _ in range(QUERIES):
        asker.wait()
        asker.chance.choice((asker.behavior, asker.behavior, asker.face))()
    print(  # noqa: T201
        {" ".join(map(str, key)): count for key, count in sorted(asker.asked.items())},
        "faces that differed:",
        sorted(asker.missed.values()),
    )
    assert max(asker.missed.values()) <= FACE_TOTAL
    assert min(asker.asked["behavior", 200], asker.asked["behavior", 429]) > 0
