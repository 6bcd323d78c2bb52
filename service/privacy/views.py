"""Exports as the routes show them."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id, Timestamp
from service.store.personal_data import TableExport, UnlinkedTable


class ExportDocument(TypedDict):
    """All personal data of a subject (GDPR articles 15 and 20)."""

    format: Annotated[int, Field(description="The version of this format.", examples=[1])]
    subject: Id
    issuer: Annotated[str, Field(examples=["https://id.example.com"])]
    made_at: Timestamp
    sections: Annotated[list[TableExport], Field(description="The rows of each table.")]
    not_found_by_subject: Annotated[
        list[UnlinkedTable],
        Field(description="Tables that may be about people but cannot be searched by a person."),
    ]
