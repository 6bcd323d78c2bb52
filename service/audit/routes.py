"""HTTP of the log."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from service.audit.actions.audit_log import AuditLog
from service.audit.model import Wanted
from service.audit.views import AuditEntry
from service.domain.errors import Forbidden
from service.store.engine import Store
from service.web.call import Call
from service.web.operation import get
from service.web.paging import Page

SCOPE: Final = "audit:read"
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _written(text: object) -> object:
    # Other spellings of a time are read as seconds since 1970, and as what nobody meant.
    if isinstance(text, str) and _MOMENT.fullmatch(text):
        return text
    raise ValueError("must be a time like 2026-11-24T12:00:00Z (RFC 3339); + is written %2B")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time of the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]


class Narrowed(BaseModel):
    """Which entries of the log to list: all where nothing is said."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    subject: UUID | None = Field(default=None, description="Entries about this subject.")
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,63}$")] | None = Field(
        default=None, description="Entries of this name, as `session.started`."
    )
    since: Moment | None = Field(
        default=None, alias="from", description="Entries of this time (RFC 3339) and later."
    )
    until: Moment | None = Field(
        default=None, alias="to", description="Entries before this time (RFC 3339)."
    )


class AuditRoutes:
    """The HTTP view of the audit log."""

    def __init__(self, database: Store, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def operators_only(self, call: Call) -> None:
        """Refuse clients: the log is about the people of every segment, and about operators."""
        if call.by.operator is None:
            raise Forbidden("operators_only", "Only a signed-in operator may read the log.")

    @get(
        "/v1/audit",
        scope=SCOPE,
        paged=True,
        query=Narrowed,
        may=operators_only,
        answer=Page[AuditEntry],
        problems=("403 operators_only",),
    )
    def list_audit_entries(self, call: Call) -> Page[AuditEntry]:
        """List the entries of the audit log, for auditors."""
        asked = call.query(Narrowed)
        wanted = Wanted(asked.subject, asked.name, asked.since, asked.until)
        with self._database.transaction(read=True) as tx:
            return self._audit.page(tx, call.page, wanted)
