"""The only reader of the environment: each setting checked, with one line when wrong."""

import os
import re
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from crypto.keyring import KEY_CLASSES
from service.domain.bounds import Bounds
from service.domain.errors import SetupError

PREFIX: Final = "LAMINA_"
_SHARED: Final = "_LAMINA_SHARED"
"""Not a setting: what the server tells its own workers."""
_CLASS_PREFIX: Final = "ROOT_KEY_"
CONSOLE: Final = "console:"
"""Prints what would be sent, while developing."""
_ADDRESS: Final = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_LEAST_SECRET: Final = 16
_PYDANTIC: Final = "Value error, "
"""What pydantic puts before the words of a validator."""
_SERVER: Final = re.compile(
    r"postgresql\+psycopg://(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?\]]+\]|[^/:?\[\]]+)?"
    r"(?::(?P<port>[0-9]{1,5}))?(?:[/?].*)?",
    re.DOTALL,
)
"""Read as SQLAlchemy reads it, in whose words a password may stand."""
_LAST_PORT: Final = 65_535
_TOGETHER: Final = 80
"""Connections of all workers and of `lamina worker`, where PostgreSQL allows 100."""
_LEAST: Final = 4


class Settings(Bounds):
    """Everything that can be set, named as in the environment, less the prefix, in lower case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["production", "development"] = "production"
    database_url: str = "sqlite:///lamina.db"
    redis_url: str = ""
    root_key: str = "file:keys"
    root_key_classes: dict[str, str] = Field(default_factory=dict)
    key_classes: tuple[str, ...] = KEY_CLASSES
    issuer: str = "http://localhost:8000"
    bind: str = "127.0.0.1:8000"
    metrics_bind: str = ""
    face_engine: Literal["dlib", "dlib-int8", "off"] = "dlib"
    face_liveness: Literal["active", "passive", "off"] = "active"
    face_models: Path | None = None
    face_detector: Path | None = None
    face_embedder: Path | None = None
    behavior_model: Path | None = None
    geoip_db: tuple[Path, ...] = ()
    bad_networks: Path | None = None
    trusted_proxies: Annotated[int, Field(ge=0, le=8)] = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    ledger: str = ""
    backup_days: Annotated[int, Field(ge=1, le=3660)] = 35
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    caller_seconds: Annotated[float, Field(ge=0, le=5)] = 1
    database_connections: Annotated[int, Field(ge=0, le=256)] = 0
    hash_slots: Annotated[int, Field(ge=0, le=256)] = 0
    refresh_grace: Annotated[int, Field(ge=0, le=300)] = 60
    flow_lifetime: Annotated[int, Field(ge=120, le=900)] = 900
    flow_idle: Annotated[int, Field(ge=60, le=900)] = 300
    free_attempts: Annotated[int, Field(ge=2, le=5)] = 5
    totp_issuer: Annotated[str, Field(max_length=32)] = ""
    totp_digits: Annotated[int, Field(ge=6, le=8)] = 6
    totp_period: Annotated[int, Field(ge=30, le=60)] = 30
    recovery_codes: Annotated[int, Field(ge=5, le=10)] = 10
    service_name: Annotated[str, Field(min_length=1, max_length=64)] = "Lamina"
    language: str = "en"
    texts: Path | None = None
    smtp_url: Annotated[str, Field(repr=False)] = ""
    smtp_from: str = ""
    sms_url: str = ""
    sms_secret: Annotated[str, Field(repr=False)] = ""
    alarm_email: tuple[str, ...] = ()

    @field_validator("key_classes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("service_name")
    @classmethod
    def _name(cls, value: str) -> str:
        # An encoded word (RFC 2047) would be decoded into the header of a mail.
        if not value.isprintable() or not value.strip() or "=?" in value:
            raise ValueError("must be one line of characters that show, without =?")
        return value.strip()

    @field_validator("totp_issuer")
    @classmethod
    def _totp_issuer(cls, value: str) -> str:
        # The colon parts issuer and account in the label of the URI.
        if not value.isprintable() or ":" in value or value != value.strip():
            raise ValueError("must be one line of characters that show, without a colon")
        return value

    @field_validator("language")
    @classmethod
    def _language(cls, value: str) -> str:
        if not LANGUAGE.fullmatch(value):
            raise ValueError("must be a language like en or zh-Hans")
        return value

    @field_validator("sms_secret")
    @classmethod
    def _sms_secret(cls, value: str) -> str:
        try:
            secret = b64decode(value.removeprefix("whsec_"), validate=True)
        except ValueError:
            secret = b""
        if value and len(secret) < _LEAST_SECRET:
            raise ValueError(f"must be base64 of {_LEAST_SECRET} bytes or more")
        return value

    @field_validator("alarm_email", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("alarm_email", "smtp_from")
    @classmethod
    def _address(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        for address in (value,) if isinstance(value, str) else value:
            if address and not _ADDRESS.fullmatch(address):
                raise ValueError("must be an address like name@example.com")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, value: str) -> str:
        if value and value != CONSOLE and not value.startswith(("smtp://", "smtps://")):
            raise ValueError("must be smtp://HOST:PORT, smtps://HOST:PORT or console:")
        return value

    @field_validator("sms_url")
    @classmethod
    def _sms(cls, value: str) -> str:
        parts = urlsplit(value)
        posted = parts.scheme in {"http", "https"} and parts.netloc
        if value and value != CONSOLE and not posted:
            raise ValueError("must be an http or https URL, or console:")
        return value

    @field_validator("texts")
    @classmethod
    def _texts(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value.name} is no directory")
        return value

    @field_validator("geoip_db", mode="before")
    @classmethod
    def _paths(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator(
        "bad_networks", "face_detector", "face_embedder", "behavior_model", "texts", mode="before"
    )
    @classmethod
    def _unset(cls, value: object) -> object:
        return value or None

    @field_validator("geoip_db", "bad_networks", "face_detector", "face_embedder", "behavior_model")
    @classmethod
    def _regular(cls, value: tuple[Path, ...] | Path | None) -> tuple[Path, ...] | Path | None:
        """Refuse pipes and devices: to read one could keep the start waiting for ever."""
        for path in (value,) if isinstance(value, Path) else value or ():
            if path.exists() and not path.is_file():
                raise ValueError(f"{path.name} is no regular file")
        return value

    @field_validator("face_models")
    @classmethod
    def _directory(cls, value: Path | None) -> Path | None:
        if value is not None and value.exists() and not value.is_dir():
            raise ValueError(f"{value.name} is no directory")
        return value

    @field_validator("key_classes")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - set(KEY_CLASSES))
        if unknown or not value:
            known = " ".join(KEY_CLASSES)
            raise ValueError(f"unknown key class {' '.join(unknown) or '(none)'}; known: {known}")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        found = _SERVER.fullmatch(value)
        bad = found is None or int(found["port"] or 0) > _LAST_PORT or not _splits(value)
        if bad and not value.startswith("sqlite"):
            told = "must be postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME"
            raise ValueError(f"{told}; write signs in a password as %XX")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        scheme, _, place = value.partition("://")
        if value and (scheme not in {"redis", "rediss", "unix"} or not place):
            raise ValueError("must start with redis://, rediss:// or unix://, or be empty")
        try:
            urlsplit(value).port  # noqa: B018 - raises where it is none
        except ValueError:
            # What Python says of it may repeat a password.
            raise ValueError("has a port that is none; write signs in a password as %XX") from None
        return value

    @field_validator("ledger")
    @classmethod
    def _ledger(cls, value: str) -> str:
        if value not in {"", "off"} and not (value.startswith("file:") and value[5:]):
            raise ValueError("must be file:PATH or off")
        place = Path(value.removeprefix("file:")) if value.startswith("file:") else None
        if place is not None and place.exists() and not place.is_file():
            raise ValueError(f"{place.name} is no regular file")
        return value

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        # What Python says of a URL that is none may repeat a password.
        parts = urlsplit(value) if _splits(value) else urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
            raise ValueError("must be an http or https URL without a query")
        if "@" in parts.netloc:
            raise ValueError("is shown to everybody: it must hold neither user nor password")
        return value.rstrip("/")

    @field_validator("bind", "metrics_bind")
    @classmethod
    def _bind(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.field_name == "metrics_bind":
            return value
        host, _, port = value.rpartition(":")
        numbered = re.fullmatch("[0-9]{1,5}", port) and int(port) <= _LAST_PORT
        if not host or not numbered or host.startswith("[") != host.endswith("]"):
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000")
        if info.field_name == "metrics_bind" and not int(port):
            raise ValueError("must name its port")
        return value

    @model_validator(mode="after")
    def _safe(self) -> "Settings":
        if self.mode == "production":
            if not self.issuer.startswith("https://"):
                told = "LAMINA_ISSUER: must be https in production"
                raise ValueError(f"{told} (or set LAMINA_MODE=development)")
            if self.workers > 1 and not self.redis_url:
                raise ValueError("LAMINA_REDIS_URL: several workers need one in production")
            if self.smtp_url == CONSOLE:
                raise ValueError("LAMINA_SMTP_URL: console: is for LAMINA_MODE=development alone")
            if self.sms_url == CONSOLE or self.sms_url.startswith("http:"):
                raise ValueError("LAMINA_SMS_URL: must be https in production")
        return self

    @property
    def sqlite(self) -> bool:
        """Whether the database is SQLite, in one file on this machine."""
        return self.database_url.startswith("sqlite")

    @property
    def sqlite_file(self) -> Path | None:
        """The file of SQLite; None for a server."""
        return Path(self.database_url.removeprefix("sqlite:///")) if self.sqlite else None

    @property
    def connections(self) -> int:
        """How many connections to PostgreSQL a process opens at most."""
        shared = _TOGETHER // (self.workers + 1)
        return self.database_connections or max(_LEAST, min(32, shared))

    @property
    def ledger_path(self) -> Path | None:
        """Where is remembered, outside the database, what a backup would undo; None for `off`.

        Beside a SQLite file unless told otherwise, as its backups are copies of that file. For
        PostgreSQL beside the directory of root keys: that is kept and backed up by itself too.
        """
        if self.ledger == "off":
            return None
        if self.ledger:
            return Path(self.ledger.removeprefix("file:"))
        if self.sqlite:
            return Path(self.database_url.removeprefix("sqlite:///") + ".ledger")
        scheme, _, place = self.root_key.partition(":")
        name = urlsplit(self.database_url).path.strip("/") or "lamina"
        return (Path(place).parent if scheme == "file" else Path()) / f"{Path(name).name}.ledger"

    def root_for(self, key_class: str) -> str:
        """Return the provider specification that holds the root of a class."""
        return self.root_key_classes.get(key_class, self.root_key)


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Settings:
    """Read the settings from a `.env` file and the environment, which wins.

    Raises:
        SetupError: A value is wrong or a `LAMINA_` name is unknown; the text names it.
    """
    merged = {name: value for name, (value, _) in _merged(environ, dotenv).items()}
    values: dict[str, object] = {}
    roots: dict[str, str] = {}
    for name, value in merged.items():
        bare = name.removeprefix(PREFIX)
        if bare.startswith(_CLASS_PREFIX):
            roots[_key_class(name, bare)] = value
        elif bare == "ROOT_KEY_CLASSES" or bare.lower() not in Settings.model_fields:
            raise SetupError("unknown_setting", f"{name}: no such setting")
        else:
            values[bare.lower()] = value
    try:
        return Settings.model_validate({**values, "root_key_classes": roots})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"{PREFIX}{str(part).upper()}: " for part in first["loc"][:1])
        raise SetupError("bad_setting", f"{where}{first['msg'].removeprefix(_PYDANTIC)}") from None


def origins(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> dict[str, str]:
    """Return where each setting comes from that is not at its default: `environment` or `.env`."""
    found = _merged(environ, dotenv)
    return {name.removeprefix(PREFIX).lower(): origin for name, (_, origin) in found.items()}


def _merged(environ: Mapping[str, str] | None, dotenv: Path | None) -> dict[str, tuple[str, str]]:
    """Return the values that are set, each with its origin; the environment wins."""
    file = dotenv if dotenv is not None else Path(".env")
    if file.exists() and not file.is_file():
        raise SetupError("bad_setting", f"{file.name} is no regular file")
    found = {name: (value, ".env") for name, value in _written(file).items()}
    given = os.environ if environ is None else environ
    found |= {name: (value, "environment") for name, value in given.items()}
    ours = (name for name in found if name.startswith(PREFIX))
    return {name: found[name] for name in ours if not name.startswith(f"{PREFIX}TEST_")}


def _splits(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def _written(file: Path) -> dict[str, str]:
    """Return what a `.env` file sets; raises SetupError that repeats nothing of it."""
    try:
        found = dotenv_values(file)
    except UnicodeDecodeError:
        raise SetupError("bad_setting", f"{file.name}: is no text in UTF-8") from None
    except OSError as error:
        detail = f"{file.name}: cannot be read ({error.strerror})"
        raise SetupError("bad_setting", detail) from None
    return {name: value for name, value in found.items() if value is not None}


def _key_class(name: str, bare: str) -> str:
    key_class = bare.removeprefix(_CLASS_PREFIX).lower()
    if key_class not in KEY_CLASSES:
        raise SetupError("unknown_setting", f"{name}: no such key class")
    return key_class


def hand_down(workers: int, shared: Path | None = None) -> None:
    """Tell the processes that this one starts how many they are, and the directory they share."""
    os.environ[f"{PREFIX}WORKERS"] = str(workers)
    if shared is not None:
        os.environ[_SHARED] = str(shared)


def shared_directory() -> Path | None:
    """Return where the workers of this server share counts and turns; None for a single one."""
    place = os.environ.get(_SHARED)
    return Path(place) if place else None
