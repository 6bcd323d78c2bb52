"""Texts of messages by kind and language, which an operator may replace."""

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

from service.domain.clock import rfc3339
from service.domain.errors import SetupError
from service.notifications.model import ALARM, Message
from service.settings import LANGUAGE

_MEMBERS: Final = frozenset({"subject", "body", "sms"})
_NAMES: Final = frozenset({"service", "code", "field", "at", "when", "kind", "details"})
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a message."""

    subject: str = field(repr=False)
    body: str = field(repr=False)
    sms: str = field(repr=False)


class Texts:
    """The texts of all languages.

    Args:
        service: The name of the service that people know.
        language: The default, for unknown languages or those without texts.
        place: A directory with the operator's `LANGUAGE.toml` files; other texts stay as shipped.

    Raises:
        SetupError: A file is not valid; the detail names what to correct.
    """

    def __init__(self, service: str, language: str, place: Path | None = None) -> None:
        self._service = service
        self._texts = _shipped()
        for path in sorted(place.glob("*.toml")) if place else ():
            kinds = _checked(path.read_bytes(), path.stem, path.name, self._texts["en"])
            self._texts[path.stem] = self._texts.get(path.stem, {}) | kinds
        if language not in self._texts:
            known = " ".join(sorted(self._texts))
            raise SetupError("bad_setting", f"LAMINA_LANGUAGE: {language} is not one of: {known}")
        self._language = language

    def of(self, message: Message) -> Text:
        """Return the text of a message in the language of the person."""
        language = self._chosen(message.locale)
        kind = "alarm" if message.kind.startswith(ALARM) else message.kind
        known = self._texts[language].get(kind) or self._texts["en"].get(kind)
        text = known or self._texts["en"]["other"]
        details = "\n".join(f"{name}: {value}" for name, value in message.public.items())
        name = str(message.payload.get("field", ""))
        values = {
            "service": self._service,
            "at": rfc3339(message.at),
            "kind": message.kind,
            "details": details,
            "code": message.payload.get("code", ""),
            "when": message.payload.get("when", ""),
            "field": self._texts[language].get("fields", {}).get(name, name),
        }
        made = {name: string.Template(text[name]).substitute(values) for name in _MEMBERS}
        # A subject must be one line, whatever its values contain.
        return Text(" ".join(made["subject"].split()), made["body"].strip(), made["sms"].strip())

    def _chosen(self, locale: str) -> str:
        """Return the best matching language: the same, else one with the same primary subtag."""
        wanted = locale.replace("_", "-").lower()
        by_name = {name.lower(): name for name in self._texts}
        if wanted in by_name:
            return by_name[wanted]
        first = wanted.partition("-")[0]
        near = (name for name in sorted(by_name) if name.partition("-")[0] == first)
        return by_name.get(next(near, ""), self._language)


def _shipped() -> dict[str, dict[str, dict[str, str]]]:
    found = {}
    for name in ("en.toml", "zh-Hans.toml"):
        text = resources.files(__package__).joinpath(name).read_text("utf-8")
        found[name.removesuffix(".toml")] = tomllib.loads(text)
    return found


def _checked(
    source: bytes, language: str, name: str, known: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    if not LANGUAGE.fullmatch(language):
        raise _unfit(name, "must be named after a language, such as de.toml or zh-Hant.toml")
    try:
        kinds = tomllib.loads(source.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _unfit(name, f"is not TOML in UTF-8: {error}") from None
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
        raise _unfit(name, f"must have text in {where!r}, at most {_LONGEST} characters")
    template = string.Template(text)
    if not template.is_valid() or (unknown := set(template.get_identifiers()) - _NAMES):
        shown = "$" + min(unknown) if template.is_valid() else "a lone $ (write $$)"
        names = " ".join(f"${each}" for each in sorted(_NAMES))
        raise _unfit(name, f"has {shown} in {where!r}; known: {names}")


def _unfit(name: str, what: str) -> SetupError:
    return SetupError("bad_texts", f"LAMINA_TEXTS: {name} {what}")
