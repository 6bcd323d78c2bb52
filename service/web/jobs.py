"""Long-running jobs as the routes of several features show them."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id, Timestamp


class JobView(TypedDict):
    """A long-running job, with its progress and report."""

    id: Id
    kind: Annotated[str, Field(examples=["export"])]
    params: Annotated[
        dict[str, object],
        Field(
            description="Its parameters, by kind.",
            examples=[{"export": "01a20d6d-6d88-726f-95cd-42a4410cdc1d"}],
        ),
    ]
    status: Annotated[
        str,
        Field(
            description="queued, running, done, partial (something failed), stopped or void.",
            examples=["done"],
        ),
    ]
    actor: Annotated[str, Field(description="Who requested it.")]
    done: Annotated[int, Field(description="Rows done.", ge=0)]
    total: Annotated[int, Field(description="Rows to do, as far as known.", ge=0)]
    report: Annotated[
        dict[str, object],
        Field(description="Its result, by kind; `error` and `detail` if it failed.", examples=[{}]),
    ]
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
