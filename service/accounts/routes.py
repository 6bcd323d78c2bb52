"""HTTP routes for subjects, identifiers, consents and suspensions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.accounts.actions import pages
from service.accounts.actions.accounts import Accounts
from service.accounts.actions.suspension import Suspensions
from service.accounts.model import LIFTING, Account
from service.accounts.views import (
    ConsentView,
    ListedSubject,
    SubjectView,
    SuspensionView,
    VerificationView,
)
from service.domain.caller import Caller
from service.domain.codes import LONGEST
from service.domain.errors import Conflict, NotFound, VerificationFailed
from service.store.engine import Store, Tx
from service.web.call import Call
from service.web.operation import delete, get, patch, post
from service.web.paging import Page
from service.web.queues import Effort

_ONE = "/v1/subjects/{subject}"
_CONSENTS = f"{_ONE}/consents"
_SUSPENSIONS = f"{_ONE}/suspensions"
_Name = Annotated[str, Field(min_length=1, max_length=254)]
_Short = Annotated[str, Field(min_length=1, max_length=64)]
_Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class ConsentInput(BaseModel):
    """A consent: its purpose, version, wording, locale and channel."""

    model_config = ConfigDict(extra="forbid")

    purpose: _Code
    version: _Short
    text_hash: Annotated[str, Field(min_length=1, max_length=128)]
    locale: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
    channel: _Short


class Identifiers(BaseModel):
    """The identifiers of a person."""

    model_config = ConfigDict(extra="forbid")

    username: _Name | None = None
    email: _Name | None = None
    phone: _Name | None = None


class ProfileInput(BaseModel):
    """Personal data, sealed as one profile."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=256)] | None = None
    birthdate: Annotated[str, Field(max_length=10)] | None = None
    national_id: Annotated[str, Field(max_length=64)] | None = None
    address: Annotated[str, Field(max_length=1024)] | None = None
    locale: Annotated[str, Field(max_length=35)] | None = None


class NewSubject(BaseModel):
    """A subject to register."""

    model_config = ConfigDict(extra="forbid")

    identifiers: Identifiers
    password: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    profile: ProfileInput | None = None
    segment: _Short | None = None
    consents: Annotated[list[ConsentInput], Field(max_length=20)] = []


class SubjectPatch(BaseModel):
    """Members to replace; an identifier given as null is removed."""

    model_config = ConfigDict(extra="forbid")

    identifiers: Identifiers | None = None
    profile: ProfileInput | None = None


class Lookup(BaseModel):
    """An identifier to look up; its kind follows from its syntax."""

    model_config = ConfigDict(extra="forbid")

    identifier: _Name


class Listed(BaseModel):
    """Filters for the list of subjects: by default, active ones in all the caller's segments."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    status: Annotated[
        Literal["active", "erased"],
        Field(description="`erased`: those of which only id, segment and times are left."),
    ] = "active"
    segment: Annotated[
        _Short | None, Field(description="One segment that the client serves; otherwise all.")
    ] = None


class Verification(BaseModel):
    """The code that was sent; if absent, a code is sent."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=LONGEST)] | None = None


class NewSuspension(BaseModel):
    """The capability to suspend, and the reason."""

    model_config = ConfigDict(extra="forbid")

    capability: Literal["payment", "login"]
    reason: _Code


class AuthorizeChange(Protocol):
    """Authorizes a change by a grant, or by the right of the registering client."""

    def __call__(self, tx: Tx, caller: Caller, account: Account, *, act: str, grant: str) -> None:
        """Use the grant; raises Forbidden."""


@dataclass(frozen=True, slots=True)
class AccountDependencies:
    """Functions of other features that are called when a subject changes."""

    hash_password: Callable[[str], bytes]
    enroll_password: Callable[[Tx, UUID, bytes], object]
    authorize: AuthorizeChange
    withdrawn: Callable[[Tx, UUID, str], object]


class SubjectRoutes:
    """The operations on a subject."""

    def __init__(
        self,
        database: Store,
        accounts: Accounts,
        suspensions: Suspensions,
        dependencies: AccountDependencies,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._suspensions = suspensions
        self._dependencies = dependencies

    @post(
        "/v1/subjects",
        scope="subjects:write",
        effort=Effort.START,
        body=NewSubject,
        status=201,
        idempotent=True,
        makes_subject=True,
        classes=("contact", "identity"),
        answer=SubjectView,
        problems=("403 segment_not_allowed", "409 identifier_taken", "409 too_many_consents"),
    )
    def create_subject(self, call: Call) -> SubjectView:
        """Register a subject.

        The password, if given, is enrolled in the same transaction.
        """
        wanted = call.read(NewSubject)
        verifier = self._dependencies.hash_password(wanted.password) if wanted.password else None
        profile = wanted.profile.model_dump(exclude_none=True) if wanted.profile else None
        with self._database.transaction() as tx:
            account = self._accounts.register(
                tx,
                call.by,
                wanted.identifiers.model_dump(exclude_none=True),
                segment=wanted.segment,
                profile=profile,
                consents=[item.model_dump() for item in wanted.consents],
            )
            if verifier is not None:
                self._dependencies.enroll_password(tx, account.id, verifier)
            return self._accounts.view(tx, account.id)

    @get(
        "/v1/subjects",
        scope="subjects:list",
        paged=True,
        query=Listed,
        answer=Page[ListedSubject],
        problems=("403 segment_not_allowed",),
    )
    def list_subjects(self, call: Call) -> Page[ListedSubject]:
        """List subjects, for operators.

        Those of the segments that the operator's client serves.
        """
        wanted = call.query(Listed)
        with self._database.transaction(read=True) as tx:
            return pages.subjects(
                tx, call.by, page=call.page, status=wanted.status, segment=wanted.segment
            )

    @get(_ONE, scope="subjects:read", answer=SubjectView)
    def get_subject(self, call: Call) -> SubjectView:
        """Show a subject."""
        with self._database.transaction(read=True) as tx:
            return self._accounts.view(tx, self._served(tx, call).id)

    @post(
        "/v1/subjects/lookup",
        scope="subjects:read",
        body=Lookup,
        answer=SubjectView,
        problems=("404 subject_not_found",),
    )
    def lookup_subject(self, call: Call) -> SubjectView:
        """Find a subject.

        Its kind (username, email, phone) follows from its syntax.
        """
        with self._database.transaction(read=True) as tx:
            return self._accounts.lookup(tx, call.by, call.read(Lookup).identifier)

    @patch(
        _ONE,
        scope="subjects:write",
        body=SubjectPatch,
        headers=("Grant",),
        answer=SubjectView,
        problems=("403 grant_invalid", "403 grant_required", "409 identifier_taken"),
    )
    def update_subject(self, call: Call) -> SubjectView:
        """Change identifiers or profile.

        A change of identifiers takes a grant after the first login.
        """
        wanted = call.read(SubjectPatch)
        given = wanted.identifiers.model_dump(exclude_unset=True) if wanted.identifiers else {}
        profile = wanted.profile.model_dump(exclude_none=True) if wanted.profile else None
        with self._database.transaction() as tx:
            account = self._locked(tx, call)
            if given:
                grant = call.header("Grant")
                self._dependencies.authorize(
                    tx, call.by, account, act="change:identifier", grant=grant
                )
            return self._accounts.update(
                tx, call.by, account.id, identifiers=given, profile=profile
            )

    @post(
        f"{_ONE}/identifiers/{{name}}/verification",
        scope="subjects:write",
        body=Verification,
        idempotent=True,
        answer=VerificationView,
        problems=(
            "404 identifier_not_found",
            "410 verification_expired",
            "422 verification_failed",
            "429 verification_limited",
            "503 delivery_not_configured",
        ),
    )
    def verify_identifier(self, call: Call) -> VerificationView:
        """Send or confirm a code.

        Without `code`, one is sent to the stored address; with it, the address is verified.
        """
        name = call.path["name"]
        if name not in {"email", "phone"}:
            raise NotFound("identifier_not_found", "Only email and phone can be verified.")
        subject = call.id("subject", "subject")
        code = call.read(Verification).code
        with self._database.transaction() as tx:
            if code is None:
                self._accounts.send_code(tx, subject, name, caller=call.by)
                return {"status": "sent"}
            right = self._accounts.check_code(tx, subject, name, code, caller=call.by)
        # Commit the attempt before refusing it, so that it stays counted.
        if not right:
            raise VerificationFailed("verification_code_mismatch")
        return {"status": "verified"}

    @get(_CONSENTS, scope="subjects:read", paged=True, answer=Page[ConsentView])
    def list_consents(self, call: Call) -> Page[ConsentView]:
        """List consents.

        Withdrawn ones are included.
        """
        with self._database.transaction(read=True) as tx:
            return pages.consents(tx, self._served(tx, call).id, call.page)

    @post(
        _CONSENTS,
        scope="consents:write",
        body=ConsentInput,
        status=201,
        idempotent=True,
        answer=ConsentView,
        problems=("409 too_many_consents",),
    )
    def give_consent(self, call: Call) -> ConsentView:
        """Record a consent."""
        with self._database.transaction() as tx:
            subject = self._locked(tx, call).id
            return self._accounts.consents.give(tx, subject, call.read(ConsentInput).model_dump())

    @delete(
        f"{_CONSENTS}/{{purpose}}",
        scope="consents:write",
        status=204,
        problems=("404 consent_not_found", "409 legal_hold"),
    )
    def withdraw_consent(self, call: Call) -> None:
        """Withdraw a consent.

        Data stored under it is deleted in the same transaction.
        """
        purpose = call.path["purpose"]
        with self._database.transaction() as tx:
            subject = self._locked(tx, call).id
            self._accounts.consents.withdraw(tx, subject, purpose)
            self._dependencies.withdrawn(tx, subject, purpose)

    @get(_SUSPENSIONS, scope="subjects:read", paged=True, answer=Page[SuspensionView])
    def list_suspensions(self, call: Call) -> Page[SuspensionView]:
        """List suspensions."""
        with self._database.transaction(read=True) as tx:
            return pages.suspensions(tx, self._served(tx, call).id, call.page)

    @post(
        _SUSPENSIONS,
        scope="suspensions:write",
        body=NewSuspension,
        status=201,
        idempotent=True,
        answer=SuspensionView,
        problems=("409 already_suspended",),
    )
    def suspend_subject(self, call: Call) -> SuspensionView:
        """Suspend a capability of a subject.

        Suspending `login` ends every session.
        """
        wanted = call.read(NewSuspension)
        actor = call.by.actor
        with self._database.transaction() as tx:
            subject = self._locked(tx, call).id
            new = self._suspensions.suspend(
                tx, subject, capability=wanted.capability, reason=wanted.reason, actor=actor
            )
            if not new:
                raise Conflict("already_suspended", "This capability is already suspended.")
            return self._suspensions.newest(tx, subject)

    @delete(
        f"{_SUSPENSIONS}/{{capability}}",
        scope="suspensions:write",
        status=204,
        headers=("Grant",),
        problems=("403 grant_invalid", "403 grant_required", "404 suspension_not_found"),
    )
    def lift_suspension(self, call: Call) -> None:
        """Lift a suspension.

        Without a grant it is lifted on the client's own authority.
        """
        grant = call.header("Grant")
        actor = call.by.actor
        with self._database.transaction() as tx:
            account = self._locked(tx, call)
            if grant:
                self._dependencies.authorize(tx, call.by, account, act=LIFTING, grant=grant)
                actor = "subject"
            self._suspensions.lift(tx, account.id, call.path["capability"], actor)

    def _locked(self, tx: Tx, call: Call) -> Account:
        return self._accounts.served_locked(tx, call.by, call.id("subject", "subject"))

    def _served(self, tx: Tx, call: Call) -> Account:
        return self._accounts.served(tx, call.by, call.id("subject", "subject"))
