"""What is said to people, by kind of message and language; an operator may say it otherwise."""

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from service.domain.clock import rfc3339
from service.domain.errors import SetupError
from service.notifications.model import ALARM, Message
from service.settings import LANGUAGE

_MEMBERS: Final = frozenset({"subject", "body", "sms"})
_NAMES: Final = frozenset({"service", "code", "field", "at", "when", "kind", "details"})
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Text:
    """What one message says."""

    subject: str = field(repr=False)
    body: str = field(repr=False)
    sms: str = field(repr=False)


class Texts:
    """The texts of every language.

    Args:
        service: The name that people know the service by.
        language: For those of whom none is known, or whose language there is not.
        place: A directory of the operator's own `LANGUAGE.toml`; what is not in there stays.

    Raises:
        SetupError: A file cannot be read as texts; the detail names what to mend.
    """

    def __init__(self, service: str, language: str, place: Path | None = None) -> None:
        self._service = service
        self._texts = _shipped()
        for path in sorted(place.glob("*.toml")) if place else ():
            kinds = _checked(path.read_bytes(), path.stem, path.name, self._texts["en"])
            self._texts[path.stem] = self._texts.get(path.stem, {}) | kinds
        if language not in self._texts:
            known = " ".join(sorted(self._texts))
            raise SetupError("bad_setting", f"LAMINA_LANGUAGE: {language} is none of: {known}")
        self._language = language

    def of(self, message: Message) -> Text:
        """Return what a message says, in the language of the person."""
        language = self._chosen(message.locale)
        kind = "alarm" if message.kind.startswith(ALARM) else message.kind
        known = self._texts[language].get(kind) or self._texts["en"].get(kind)
        text = known or self._texts["en"]["other"]
        details = "\n".join(f"{name}: {value}" for name, value in message.public.items())
        values = {
            "service": self._service,
            "at": rfc3339(message.at),
            "kind": message.kind,
            "details": details,
            "code": message.payload.get("code", ""),
            "when": message.payload.get("when", ""),
            "field": self._texts[language]
            .get("fields", {})
            .get(message.payload.get("field", ""), message.payload.get("field", "")),
        }
        made = {name: string.Template(text[name]).substitute(values) for name in _MEMBERS}
        # A subject is one line, whatever stands in it.
        return Text(" ".join(made["subject"].split()), made["body"].strip(), made["sms"].strip())

    def _chosen(self, locale: str) -> str:
        """Return the language that comes nearest: the same, then that of its first part."""
        wanted = locale.replace("_", "-").lower()
        by_name = {name.lower(): name for name in self._texts}
        if wanted in by_name:
            return by_name[wanted]
        first = wanted.partition("-")[0]
        near = (name for name in sorted(by_name) if name.partition("-")[0] == first)
        return by_name.get(next(near, ""), self._language)


def _shipped() -> dict[str, dict[str, Any]]:
    found = {}
    for name in ("en.toml", "zh-Hans.toml"):
        text = resources.files(__package__).joinpath(name).read_text("utf-8")
        found[name.removesuffix(".toml")] = tomllib.loads(text)
    return found


def _checked(
    source: bytes, language: str, name: str, known: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    if not LANGUAGE.fullmatch(language):
        raise _unfit(name, "is named after no language, such as de.toml or zh-Hant.toml")
    try:
        kinds = tomllib.loads(source.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _unfit(name, f"is no TOML in UTF-8: {error}") from None
    for kind, members in kinds.items():
        if kind not in known:
            raise _unfit(name, f"has {kind!r}; known: {' '.join(sorted(known))}")
        wanted = known["fields"].keys() if kind == "fields" else _MEMBERS
        if not isinstance(members, dict) or set(members) != set(wanted):
            raise _unfit(name, f"must give {kind!r} {' '.join(sorted(wanted))}, and nothing else")
        for member, text in members.items():
            _check_text(name, f"{kind}.{member}", text)
    return kinds


def _check_text(name: str, where: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
        raise _unfit(name, f"must say something in {where!r}, of {_LONGEST} characters at most")
    template = string.Template(text)
    if not template.is_valid() or (unknown := set(template.get_identifiers()) - _NAMES):
        shown = "$" + min(unknown) if template.is_valid() else "a lone $ (write $$)"
        names = " ".join(f"${each}" for each in sorted(_NAMES))
        raise _unfit(name, f"has {shown} in {where!r}; known: {names}")


def _unfit(name: str, what: str) -> SetupError:
    return SetupError("bad_texts", f"LAMINA_TEXTS: {name} {what}")
