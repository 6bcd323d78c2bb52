"""Roles and approvals as the routes show them."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id, Timestamp
from service.web.paging import NextCursor

_Actor = Annotated[
    str,
    Field(description="Who did it.", examples=["operator:01a20d6d-6d88-726f-95cd-42a4410cdc1d"]),
]


class FirstOperator(TypedDict):
    """A subject that is now one of the first operators."""

    subject: Id
    roles: Annotated[list[str], Field(examples=[["security_officer"]])]


class RoleView(TypedDict):
    """A role of a subject."""

    subject: Id
    role: Annotated[str, Field(examples=["security_officer"])]
    granted_at: Timestamp
    granted_by: _Actor


class ShortScope(TypedDict):
    """A scope that too few operators hold to agree on its acts."""

    scope: Annotated[str, Field(examples=["keys:admin"])]
    able: Annotated[
        int, Field(description="How many operators with it may sign in.", ge=0, examples=[1])
    ]


# No subclass of Page[RoleView]: pydantic would describe its items as of any type.
class OperatorPage(TypedDict):
    """A page of operators, with one item per role, and the scopes that are short of operators."""

    items: list[RoleView]
    next_cursor: NextCursor
    short: list[ShortScope]


class RecoveryStart(TypedDict):
    """A recovery that an approval started."""

    act: Annotated[str, Field(examples=["enroll:totp"])]
    code_at: Annotated[Timestamp, Field(description="When the code is sent to the person.")]


class StartedAct(TypedDict, total=False):
    """What a feature adds to the response to an approval that started its act."""

    recovery: RecoveryStart


class ApprovalView(TypedDict):
    """A requested act that takes two operators."""

    id: Id
    act: Annotated[str, Field(examples=["clients.scopes"])]
    target: Annotated[
        str,
        Field(
            description="The id, name or digest of what the act is on.",
            examples=["01a20d6d-6d88-726f-95cd-42a4410cdc1d"],
        ),
    ]
    params: Annotated[
        dict[str, str],
        Field(
            description="The parameters that the approval covers.",
            examples=[{"scopes": "subjects:read"}],
        ),
    ]
    reason: Annotated[str, Field(examples=["ticket 4711"])]
    status: Annotated[
        str,
        Field(
            description="pending, approved, rejected, used, stopped or void.", examples=["pending"]
        ),
    ]
    requested_by: _Actor
    decided_by: Annotated[
        str | None, Field(description="The operator who decided it; null while it is pending.")
    ]
    created_at: Timestamp
    expires_at: Timestamp
    used_at: Annotated[Timestamp | None, Field(description="When the act ran; null before.")]
    recovery: Annotated[
        NotRequired[RecoveryStart],
        Field(description="Only where this approval starts the recovery of an account."),
    ]
