"""Explain why the database does not answer, with what an operator can correct."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

_PORT: Final = 5432
_SETTING: Final = "LAMINA_DATABASE_URL"
_NO_DATABASE: Final = re.compile('database ".*" does not exist')
_NO_ROLE: Final = re.compile('role ".*" does not exist')
# Parts of driver messages and their meaning here; the messages themselves may name users.
_KINDS: Final = (
    ("connection refused", "connection refused: no server listens there"),
    ("no such file", "no server socket at this path"),
    ("failed to resolve host", "no such host"),
    ("could not translate host", "no such host"),
    ("name or service not known", "no such host"),
    ("password authentication failed", "user or password refused"),
    ("no password supplied", "a password is required"),
    ("no pg_hba.conf entry", "the server refuses this host or user (pg_hba.conf)"),
    ("timeout", "no answer in time"),
    ("too many", "the server has no free connections"),
    ("no space left", "its disk is full"),
    ("read-only", "it is read-only"),
    ("starting up", "it is starting up"),
)


def explain(error: BaseException, url: str) -> str:
    """Return one line: the location of the database, why it does not answer, and the setting.

    Args:
        error: The error; the driver's error is among its causes.
        url: The URL of the database; neither user nor password is repeated.
    """
    place = make_url(url)
    text = _driver(error).lower()
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
    return next((meaning for mark, meaning in _KINDS if mark in text), "the connection failed")


def _of_file(url: URL, text: str) -> str:
    path = Path(str(url.database))
    if not path.parent.is_dir():
        return f"no such directory; create it: mkdir -p {path.parent}"
    if "readonly" in text or "unable to open" in text:
        return "this user cannot read and write the file and its directory"
    return "its disk is full" if "full" in text else "the file cannot be used"
