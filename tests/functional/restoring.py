"""A copy of a database that can be put back, and acts that a restore would undo."""

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy.engine import make_url

from service.domain.errors import Conflict
from service.operators.model import Role
from service.policy.actions.parsing import shipped
from tests.functional.conftest import CONSENT, PASSWORD

OTHER = "another pass phrase, quite long"
ACTS = 13


class Backup:
    """A copy of a database that can be put back over it, as an operator does."""

    def __init__(self, url: str, place: Path) -> None:
        self._url = make_url(url)
        self._file = place / "backup"
        if self._url.get_backend_name() == "sqlite":
            shutil.copy(self._url.database, self._file)
        else:
            self._run("pg_dump", "--clean", "--if-exists", "-f", str(self._file))

    def put_back(self) -> None:
        """Restore it."""
        if self._url.get_backend_name() == "sqlite":
            place = Path(self._url.database)
            for log in place.parent.glob(f"{place.name}-*"):
                log.unlink()
            copy = place.with_name("restoring")
            shutil.copy(self._file, copy)
            copy.rename(place)
        else:
            self._run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(self._file))

    def _run(self, command: str, *options: str) -> None:
        environment = os.environ | {"PGOPTIONS": "-c client_min_messages=warning"}
        line = [command, "-h", self._url.host, "-p", str(self._url.port or 5432)]
        line += ["-U", self._url.username, *options, self._url.database]
        subprocess.run(line, check=True, capture_output=True, env=environment)


class Taken:
    """Thirteen acts that take something away, and how each looks when it is undone."""

    def __init__(self, service) -> None:
        self.service = service
        self.people = {
            name: service.register(name, consents=[CONSENT | {"purpose": "behavior"}])
            for name in ("alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi")
        }
        self.client = service.new_client()
        self.narrowed = service.new_client()
        self.device = service.login(self.people["dave"])["device_token"]
        self.tokens = service.exchange(service.login(self.people["heidi"])["completion_code"]).json
        self.bearer = service.access()
        with self.tx() as tx:
            service.container.operators.roles.grant(tx, self.id("frank"), Role.AUDITOR, "op")
            body = shipped().model_copy(update={"name": "stricter"})
            drafted = service.container.lives.draft(tx, body, "op")
        self.policy = drafted["version"]

    def tx(self):
        """Open a unit of work of the process that runs now."""
        return self.service.container.store.transaction()

    def id(self, name):
        """Return the id of a person."""
        return UUID(self.people[name].id)

    def do(self):
        """Do all thirteen."""
        container, service = self.service.container, self.service
        verifier = container.password.hash(OTHER)
        with self.tx() as tx:
            for row in container.authenticators.listing(tx, self.id("alice")):
                if row.type == "totp":
                    container.authenticators.revoke(tx, self.id("alice"), row.id)
        flow = service.begin("bob").json
        service.act(flow, "password", {"password": PASSWORD})
        used = service.act(flow, "recovery_code", {"code": self.people["bob"].codes[0]})
        assert used.status_code == 200, used.json
        with self.tx() as tx:
            container.password.enroll(tx, self.id("carol"), verifier)
        path = f"/v1/subjects/{self.id('dave')}/consents/behavior"
        assert service.call("DELETE", path).status_code == 204
        with self.tx() as tx:
            container.devices.delete_for(tx, self.id("dave"))
            container.suspensions.suspend(
                tx, self.id("eve"), capability="login", reason="fraud", actor="op"
            )
            container.operators.roles.revoke(tx, self.id("frank"), Role.AUDITOR, "op")
            container.clients.revoke(tx, UUID(self.client[0]))
            scopes = {"scopes": "flows:write"}
            container.clients.approve_scopes(tx, self.narrowed[0], scopes, "op")
            until = service.clock.now() + timedelta(days=400)
            container.shredding.hold(tx, self.id("alice"), until=until, reason="a duty", actor="op")
            container.lives.validate(tx, self.policy, "op")
            container.lives.activate(tx, self.policy, "op")
        service.oauth("revoke", token=self.tokens["refresh_token"])
        service.oauth("revoke", token=self.bearer)
        assert service.call("DELETE", f"/v1/subjects/{self.id('grace')}").status_code == 200

    def undone(self):
        """Return the names of the acts that do not stand any more."""
        return [name for name, stands in self.states().items() if not stands]

    def states(self):
        """Return whether each act stands."""
        container, service = self.service.container, self.service
        service.bearer = service.access()
        password = service.act(service.begin("carol").json, "password", {"password": PASSWORD})
        code = service.begin("bob").json
        service.act(code, "password", {"password": PASSWORD})
        used = service.act(code, "recovery_code", {"code": self.people["bob"].codes[0]})
        erased = service.act(service.begin("grace").json, "password", {"password": PASSWORD})
        seen = [
            service.oauth("introspect", token=token).json["active"]
            for token in (self.tokens["access_token"], self.tokens["refresh_token"])
        ]
        alive = service.http.get(
            "/v1/subjects/" + self.people["bob"].id,
            headers={"Authorization": f"Bearer {self.bearer}"},
        )
        with self.tx() as tx:
            return {
                "factor": "totp" not in container.authenticators.enrolled(tx, self.id("alice")),
                "code": used.status_code == 422,
                "password": password.status_code == 422,
                "consent": not container.accounts.consents.active(tx, self.id("dave"), "behavior"),
                "device": container.devices.recognize(tx, self.device, self.id("dave")) is None,
                "suspension": not container.accounts.known(tx, self.id("eve")).may_sign_in,
                "role": not container.operators.roles.scopes(tx, self.id("frank")),
                "client": service.oauth_unit(tx, self.client) is None,
                "scopes": container.clients.active(tx, UUID(self.narrowed[0])).scopes
                == {"flows:write"},
                "hold": _held(container, tx, self.id("alice")),
                "policy": container.lives.show(tx, self.policy)["status"] == "active",
                "session": seen == [False, False] and alive.status_code == 401,
                "erasure": erased.status_code == 422,
            }


def _held(container, tx, subject):
    try:
        container.shredding.require_free(tx, subject)
    except Conflict:
        return True
    return False
