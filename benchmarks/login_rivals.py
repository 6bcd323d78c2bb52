"""What the login context is compared with: plain rules, and Freeman et al. as published."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from service.signals.login_context.features import Level, Observed

Values = Mapping[Level, bytes]
_IP = ((Level.PREFIX, 0.6), (Level.ASN, 0.3), (Level.COUNTRY, 0.1))
_AGENT = ((Level.DEVICE, 0.53), (Level.PLATFORM, 0.27), (Level.SYSTEM, 0.2))
_POINTS = (
    (Level.COUNTRY, 3.0),
    (Level.ASN, 2.0),
    (Level.PREFIX, 1.0),
    (Level.SYSTEM, 2.0),
    (Level.PLATFORM, 1.0),
    (Level.DEVICE, 0.5),
    (Level.LOCALE, 1.0),
)
_NEAR = 2


class Rules:
    """Points for what this person was never seen with, as operators write such rules by hand.

    New country 3, network 2, prefix 1, system 2, browser 1, model 0.5, language 1, an older version
    than before 1, two hours or more from every hour of day seen before 0.5, no device token 2.
    """

    def __init__(self, *, token: bool) -> None:
        self._token = token
        self._seen: dict[int, dict[Level, set[bytes]]] = defaultdict(lambda: defaultdict(set))
        self._hours: dict[int, set[int]] = defaultdict(set)
        self._versions: dict[tuple[int, bytes], int] = {}

    def score(self, person: int, seen: Observed, *, token: bool) -> float:
        """Return minus the points: more is better, as for the other methods."""
        known = self._seen[person]
        points = sum(
            value
            for level, value in _POINTS
            if level in seen.values and seen.values[level] not in known[level]
        )
        hour = seen.hour % 24
        apart = [min((hour - at) % 24, (at - hour) % 24) for at in self._hours[person]]
        points += 0.5 * (min(apart, default=0) > _NEAR)
        platform = seen.values.get(Level.PLATFORM, b"")
        points += seen.version < self._versions.get((person, platform), 0)
        return -(points + 2 * (self._token and not token))

    def learn(self, person: int, seen: Observed) -> None:
        """Remember a login."""
        for level, value in seen.values.items():
            self._seen[person][level].add(value)
        self._hours[person].add(seen.hour % 24)
        name = (person, seen.values.get(Level.PLATFORM, b""))
        self._versions[name] = max(seen.version, self._versions.get(name, 0))


class Freeman:
    """Freeman, Jain, Dürmuth, Biggio and Giacinto, "Who Are You?", NDSS 2016.

    S(x) = Pr[A|x] Pr[x] / Pr[x|u,L] * Pr[u|A] / Pr[u|L], features taken as independent. As
    published: two features, the address (with its network and country) and the user agent (with
    browser and system); Pr[x] over everybody with one unseen value's mass (add-one); Pr[x|u,L] by
    linear interpolation over the hierarchy, sum of lambda_i Pr[x|h_i] Pr[h_i|u]; Pr[A|x] from
    the reputation of the address's network and country, estimated from labelled attacks of the
    training days; Pr[u|A] alike for everybody and Pr[u|L] by the person's share of logins. The
    paper leaves the lambdas to the reader; here 0.6, 0.3, 0.1 for the address and 0.53, 0.27, 0.2
    for the agent, as Wiefling et al. (FC 2021) found for their reimplementation. Full user agent
    strings change with each version and would do worse here: the exact level is the device.
    """

    def __init__(self) -> None:
        self._everybody: dict[Level, Counter[bytes]] = defaultdict(Counter)
        self._own: dict[tuple[int, Level], Counter[bytes]] = defaultdict(Counter)
        self._logins: Counter[int] = Counter()
        self._attacks: dict[Level, Counter[bytes]] = defaultdict(Counter)
        self._honest: dict[Level, Counter[bytes]] = defaultdict(Counter)

    def reputation(self, seen: Observed, *, attack: bool) -> None:
        """Take in one labelled login of the training days."""
        counts = self._attacks if attack else self._honest
        for level in (Level.ASN, Level.COUNTRY):
            counts[level][seen.values.get(level, b"")] += 1

    def learn(self, person: int, seen: Observed) -> None:
        """Remember a login."""
        self._logins[person] += 1
        for level, value in seen.values.items():
            self._everybody[level][value] += 1
            self._own[person, level][value] += 1

    def score(self, person: int, seen: Observed) -> float:
        """Return minus the logarithm of S: more is better."""
        total = self._logins.total()
        found = math.log(self._attack(seen.values))
        for levels in (_IP, _AGENT):
            exact = levels[0][0]
            everybody = self._everybody[exact]
            found += math.log((everybody[seen.values[exact]] + 1) / (total + len(everybody) + 1))
            found -= math.log(self._person(person, seen.values, levels))
        # Pr[u|A] is the same for everybody.
        found -= math.log((self._logins[person] + 1) / (total + len(self._logins)))
        return -found

    def _person(self, person: int, values: Values, levels: Sequence[tuple[Level, float]]) -> float:
        exact, logins = levels[0][0], self._logins[person]
        total = self._logins.total()
        unseen = 1 / (total + len(self._everybody[exact]) + 1)
        common = self._everybody[exact][values[exact]] / total or unseen
        found = 1e-9 * common
        for level, weight in levels:
            value = values[level]
            coarse = self._everybody[level][value] / total or unseen
            part = self._own[person, level][value] / logins if logins else 0.0
            found += weight * min(1.0, common / coarse) * part
        return found

    def _attack(self, values: Values) -> float:
        """Return Pr[A|x]: by network where it was seen in training, else by country."""
        for level in (Level.ASN, Level.COUNTRY):
            value = values.get(level, b"")
            bad, good = self._attacks[level][value], self._honest[level][value]
            if bad + good:
                return (bad + 0.5) / (bad + good + 1)
        return 0.5
