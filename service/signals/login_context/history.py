"""The history of one subject: decayed counts of keyed values, bounded, packed for sealing.

Format 1, little endian, frozen in ``tests/vectors/login_context/``::

    0       1                    format
    1..8    i64                  when it was last updated, seconds
    9..16   i64                  the day its values were last counted in the population
    17..28  3 x f32              logins · logins that could have held a token · that held one
    29..40  i64 2 x i16          last success (0: none), latitude and longitude in 0.1 degrees
    41..112 9 x f32, 9 x f32     per level: logins that showed it; logins in which it was new
    113     u8, then u8 f32      hours of the week that have weight
    then    9 x (u8, then 8s f32 u16)  per level: digest, weight, highest version
"""

import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from service.signals.login_context.features import COARSER, FINEST, Chain, Level

FORMAT: Final = 1
HALF_LIFE: Final = 90 * 86_400
"""Seconds after which the weight of a login halves."""
DIGEST: Final = 8
"""Bytes of the keyed digest of a value."""
MOST: Final = (32, 16, 16, 8, 16, 12, 6, 8, 6)
"""Maximum number of values per level; the one of least weight is dropped."""
LARGEST: Final = 113 + 1 + 168 * 5 + len(MOST) + sum(MOST) * 14
"""Maximum size of a packed history in bytes."""
_LIGHTEST: Final = 0.05
_NONE: Final = -32_768
_DAY: Final = 86_400
_HEAD: Final = struct.Struct("<Bqq3fqhh")
_TOTALS: Final = struct.Struct("<18f")
_HOUR: Final = struct.Struct("<Bf")
_VALUE: Final = struct.Struct(f"<{DIGEST}sfH")


@dataclass(kw_only=True, frozen=True, slots=True)
class PastLogin:
    """A login as recorded in a history: keyed digests, no values.

    Args:
        at: Unix seconds.
        digests: The digest of each level present.
        place: Latitude and longitude in degrees, if known.
    """

    at: int
    hour: int
    known_device: bool
    digests: Mapping[Level, bytes] = field(repr=False)
    version: int = 0
    place: tuple[float, float] | None = field(default=None, repr=False)


@dataclass(kw_only=True, slots=True)
class History:
    """Counts as of `at`; all decay at one rate, so one factor updates them."""

    at: int = 0
    counted: int = 0
    logins: float = 0.0
    offered: float = 0.0
    tokens: float = 0.0
    last_at: int = 0
    last_place: tuple[int, int] | None = field(default=None, repr=False)
    totals: list[float] = field(default_factory=lambda: [0.0] * len(Level))
    novel: list[float] = field(default_factory=lambda: [0.0] * len(Level))
    hours: dict[int, float] = field(default_factory=dict, repr=False)
    values: list[dict[bytes, tuple[float, int]]] = field(
        default_factory=lambda: [{} for _ in Level], repr=False
    )

    def fade(self, at: int) -> float:
        """Return the factor that decays the counts to a later time."""
        return float(0.5 ** (max(0, at - self.at) / HALF_LIFE))

    def learn(self, login: PastLogin) -> None:
        """Add a successful login."""
        self._bring(login.at)
        if self.logins:
            # The first login could not have held a token.
            self.offered += 1
            self.tokens += login.known_device
        self.logins += 1
        self.hours[login.hour] = self.hours.get(login.hour, 0.0) + 1
        for chain in Chain:
            self._learn_chain(chain, login)
        self.last_at = login.at
        self.last_place = None
        if login.place is not None:
            self.last_place = (round(login.place[0] * 10), round(login.place[1] * 10))

    def due(self, at: int) -> bool:
        """Return whether its values may be added to the population: at most once a day."""
        if at // _DAY <= self.counted:
            return False
        self.counted = at // _DAY
        return True

    def _bring(self, at: int) -> None:
        factor = self.fade(at)
        self.at = max(at, self.at)
        self.logins, self.offered, self.tokens = (
            factor * count for count in (self.logins, self.offered, self.tokens)
        )
        self.totals = [factor * count for count in self.totals]
        self.novel = [factor * count for count in self.novel]
        self.hours = {
            hour: factor * weight
            for hour, weight in self.hours.items()
            if factor * weight >= _LIGHTEST
        }
        self.values = [
            {
                digest: (factor * weight, version)
                for digest, (weight, version) in known.items()
                if factor * weight >= _LIGHTEST
            }
            for known in self.values
        ]

    def _learn_chain(self, chain: Chain, login: PastLogin) -> None:
        for level in (FINEST[chain], *COARSER[chain]):
            digest = login.digests.get(level)
            # An absent value counts as new: then new values are weaker evidence for this subject
            # too, and absence never scores better than they do.
            if self.totals[level] and (digest is None or digest not in self.values[level]):
                self.novel[level] += digest is not None or FINEST[chain] not in login.digests
            if digest is not None:
                self.totals[level] += 1
                self._count(level, digest, login.version if level == Level.PLATFORM else 0)

    def _count(self, level: Level, digest: bytes, version: int) -> None:
        known = self.values[level]
        weight, highest = known.get(digest, (0.0, 0))
        known[digest] = (weight + 1, max(highest, version))
        if len(known) > MOST[level]:
            del known[min((name for name in known if name != digest), key=lambda name: known[name])]

    def pack(self) -> bytes:
        """Encode the history for sealing."""
        latitude, longitude = self.last_place or (_NONE, _NONE)
        parts = [
            _HEAD.pack(
                FORMAT,
                self.at,
                self.counted,
                self.logins,
                self.offered,
                self.tokens,
                self.last_at,
                latitude,
                longitude,
            ),
            _TOTALS.pack(*self.totals, *self.novel),
            bytes([len(self.hours)]),
            *(_HOUR.pack(hour, weight) for hour, weight in sorted(self.hours.items())),
        ]
        for known in self.values:
            parts.append(bytes([len(known)]))
            parts.extend(
                _VALUE.pack(digest, weight, version)
                for digest, (weight, version) in sorted(known.items())
            )
        return b"".join(parts)


def digests(key: bytes, owner: bytes, values: Mapping[Level, bytes]) -> dict[Level, bytes]:
    """Return the keyed digest of each value, unlinkable between owners."""
    return {
        level: hmac.digest(key, b"%b%c%b" % (owner, level, value), "sha256")[:DIGEST]
        for level, value in values.items()
    }


def unpack(packed: bytes) -> History:
    """Decode a history.

    Raises:
        ValueError: The bytes are of another format or truncated.
    """
    if not packed or packed[0] != FORMAT:
        raise ValueError("a login history of an unknown format")
    try:
        return _unpack(packed)
    except (struct.error, IndexError):
        raise ValueError("a login history that is cut") from None


def _unpack(packed: bytes) -> History:
    _, at, counted, logins, offered, tokens, last_at, latitude, longitude = _HEAD.unpack_from(
        packed
    )
    totals = _TOTALS.unpack_from(packed, _HEAD.size)
    place = None if latitude == _NONE else (latitude, longitude)
    split = len(Level)
    found = History(
        at=at,
        counted=counted,
        logins=logins,
        offered=offered,
        tokens=tokens,
        last_at=last_at,
        last_place=place,
        totals=list(totals[:split]),
        novel=list(totals[split:]),
    )
    start = _HEAD.size + _TOTALS.size + 1
    end = start + packed[start - 1] * _HOUR.size
    found.hours = dict(_HOUR.iter_unpack(packed[start:end]))
    for known in found.values:
        start = end + 1
        end = start + packed[end] * _VALUE.size
        known.update(
            (digest, (weight, version))
            for digest, weight, version in _VALUE.iter_unpack(packed[start:end])
        )
    if end != len(packed):
        raise IndexError
    return found
