"""Why a database does not answer, in words that tell an operator what to mend."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

_PORT: Final = 5432
_SETTING: Final = "LAMINA_DATABASE_URL"
_NO_DATABASE: Final = re.compile('database ".*" does not exist')
_NO_ROLE: Final = re.compile('role ".*" does not exist')
# What the server or its library says, and what it means here; texts hold names of users.
_KINDS: Final = (
    ("connection refused", "connection refused: nothing listens there"),
    ("no such file", "no server has its socket there"),
    ("failed to resolve host", "no such host"),
    ("could not translate host", "no such host"),
    ("name or service not known", "no such host"),
    ("password authentication failed", "user or password refused"),
    ("no password supplied", "it asks for a password"),
    ("no pg_hba.conf entry", "it takes no connections from here (pg_hba.conf)"),
    ("timeout", "no answer in time"),
    ("too many", "it has no connection left"),
    ("no space left", "no room is left"),
    ("read-only", "it takes no writes"),
    ("starting up", "it is starting up"),
)


def explain(error: BaseException, url: str) -> str:
    """Return one line: where the database is, why it is away, and the setting that names it.

    Args:
        error: What was raised; the driver's error is among its causes.
        url: The URL of the database; neither user nor password is repeated.
    """
    place, text = make_url(url), _driver(error).lower()
    why = _of_file(place, text) if url.startswith("sqlite") else _of_server(place, text)
    return f"the database {_place(place)} does not answer: {why} ({_SETTING})"


def _driver(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, DBAPIError):
            return str(error.orig)
        error = error.__cause__ or error.__context__
    return ""


def _place(url: URL) -> str:
    if url.drivername.startswith("sqlite"):
        return str(url.database)
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}:{url.port or _PORT}/{url.database or ''}"


def _of_server(url: URL, text: str) -> str:
    if _NO_DATABASE.search(text):
        return f"no such database; create it: createdb {url.database}"
    if _NO_ROLE.search(text):
        return "user or password refused"
    return next((told for mark, told in _KINDS if mark in text), "the connection failed")


def _of_file(url: URL, text: str) -> str:
    path = Path(str(url.database))
    if not path.parent.is_dir():
        return f"no such directory; make it: mkdir -p {path.parent}"
    if "readonly" in text or "unable to open" in text:
        return "this user may not read and write it and its directory"
    return "no room is left" if "full" in text else "the file cannot be used"
