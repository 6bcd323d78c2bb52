"""Parameters in the address of a list: each known, once at most, and validated like a body."""

from functools import lru_cache
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue
from werkzeug.datastructures import MultiDict

from service.domain import validation
from service.domain.errors import BadInput, Fault
from service.web import paging

_LONGEST: Final = 256


def read(model: type[BaseModel], given: MultiDict[str, str], *, paged: bool) -> BaseModel:
    """Return the parameters that narrow a list.

    Args:
        model: What there is to say.
        given: The query of the request.
        paged: Whether `limit` and `cursor` may stand beside.

    Raises:
        BadInput: A parameter is unknown, comes twice or is not of its form. Of a list that is not
            narrowed as its caller means nobody would find out.
    """
    page = set(paging.SCHEMAS) if paged else set[str]()
    known = [*schemas(model), *sorted(page)]
    if set(given) - set(known):
        detail = f"holds a parameter that is not known; known: {' '.join(known)}"
        raise BadInput(Fault("", "bad_query", detail))
    for name in given:
        if len(given.getlist(name)) > 1:
            raise BadInput(Fault(f"/{name}", "bad_query", "may be given once"))
        if len(given[name]) > _LONGEST:
            detail = f"must have at most {_LONGEST} characters"
            raise BadInput(Fault(f"/{name}", "bad_query", detail))
    return validation.parse(model, {name: given[name] for name in given if name not in page})


@lru_cache(maxsize=64)
def schemas(model: type[BaseModel]) -> JsonSchemaValue:
    """Return the JSON Schema of each parameter, by its name."""
    found: JsonSchemaValue = model.model_json_schema()["properties"]
    return found
