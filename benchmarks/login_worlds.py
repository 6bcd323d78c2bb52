"""A world of people who sign in, and of attackers of three strengths, for `make bench-context`.

Everything is drawn from one seed. Nothing here is measured on real people: the figures that come
of it compare methods with each other and are no promise for a real population.

What the world has, with the assumption behind each number:

* Countries (40) with populations by a Zipf law; in each, consumer networks (fixed and mobile) with
  Zipf shares, and as many hosting networks, some of which also carry the exits of VPN services.
* People: a home line whose prefix changes every 60 days on average; a mobile network whose logins
  leave from a pool of 24 prefixes; for 55 % a workplace; one in four shares the home line with
  another person (household). 8 % use a VPN service for half of their logins (an exit of a few that
  they keep to, a third of them abroad). 20 % travel, every 45 days on average and for 3 to 14 days,
  40 % of the trips abroad, where half of the mobile logins roam home and the others are local.
* Devices: a phone for everybody and a computer for 70 %. A phone is replaced every 30 months and a
  computer every 48 (four of five stay with the system). Versions grow every 4 to 6 weeks. 0.4 % of
  logins come from a borrowed device.
* The device token is held by the device that completed a login before. It is lacking at the first
  login of a device, and where storage was cleared. Half of the phones sign in through an app, which
  keeps it. Browsers: comScore (2007, "The Impact of Cookie Deletion") found 31 % of United States
  computers to clear first-party cookies in a month, 7 % of them four times or more; so here 7 % of
  browser users lose it between two logins with chance 0.8, and 24 % once a month. At rate 2 the
  losses are doubled.
* Hours: one to three daily peaks of each person, in the time of where they are.
* Attackers know the password and never hold the device token.
  naive: any country by a law of its own, hosting (70 %) or a bot in a consumer network; a common or
  outdated user agent; mostly English; any hour.
  VPN: the victim's country, an exit in a hosting network (80 %) or a residential proxy; an agent
  drawn from everybody's; the country's language in 60 %; any hour.
  targeted: as VPN, with residential proxies in 30 %; the user agent of one of the victim's devices,
  as it is at that time; the victim's language; daytime hours of the victim's country.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random
from typing import Final

from benchmarks.login_inhabitants import Country, Device, Event, Luck, Network, Person, header_of
from service.signals.login_context.features import NOWHERE, Origin

START: Final = datetime(2025, 1, 6, tzinfo=UTC)
COUNTRIES: Final = 40
STRENGTHS: Final = ("naive", "vpn", "targeted")
_FIRST_PREFIX: Final = 1 << 16


class World:
    """Everything that is drawn from a seed."""

    def __init__(self, seed: int, people: int, days: int = 180, loss: float = 1.0) -> None:
        self._random = Luck(seed)
        self.days = days
        self._loss = loss
        self._next = _FIRST_PREFIX
        self._origins: dict[int, Origin] = {}
        self.countries = [self._country(number) for number in range(COUNTRIES)]
        self._weights = [country.share for country in self.countries]
        self.people: list[Person] = []
        for number in range(people):
            self.people.append(self._person(number))

    def locate(self, address: bytes) -> Origin:
        """Answer as the operator's database would."""
        return self._origins.get(int.from_bytes(address[:2], "big"), NOWHERE)

    def events(self, attacks: int, after: float) -> list[Event]:
        """Return the logins of everybody in order, with attacks on each from a share of the time.

        Args:
            attacks: Attacks of each strength on each person.
            after: The share of the days before the first attack.
        """
        found = [event for person in self.people for event in self._logins(person, attacks, after)]
        return sorted(found, key=lambda event: event.at)

    @cached_property
    def _attack_countries(self) -> list[float]:
        order = list(range(COUNTRIES))
        Random(self._random.random()).shuffle(order)
        return [1 / (1 + rank) ** 0.8 for rank in order]

    def _country(self, number: int) -> Country:
        rng = self._random
        place = (rng.uniform(-50, 65), rng.uniform(-170, 170))
        language = f"l{chr(97 + number % 26)}-{chr(65 + number % 26)}{chr(65 + number // 26)}"
        country = Country(number, 1 / (1 + number), round(place[1] / 15), language)
        country.fixed = [self._network(number, place, 512) for _ in range(rng.randint(4, 8))]
        country.mobile = [self._network(number, place, 256) for _ in range(rng.randint(3, 4))]
        country.hosting = [self._network(number, place, 256) for _ in range(rng.randint(8, 20))]
        country.exits = country.hosting[: max(3, len(country.hosting) // 2)]
        return country

    def _network(self, country: int, place: tuple[float, float], size: int) -> Network:
        rng = self._random
        near = (place[0] + rng.uniform(-3, 3), place[1] + rng.uniform(-3, 3))
        found = Network(1000 + self._next // 256, country, self._next, size, near)
        origin = Origin(found.asn, f"C{country}", near)
        for wide in range(self._next >> 8, (self._next + size) >> 8):
            self._origins[wide] = origin
        self._next += size
        return found

    def _pick(self, networks: list[Network]) -> Network:
        weights = [1 / (1 + rank) for rank in range(len(networks))]
        return self._random.choices(networks, weights)[0]

    def _line(self, network: Network) -> tuple[Network, int]:
        return network, self._random.randrange(network.size)

    def _person(self, number: int) -> Person:
        rng = self._random
        shared = self.people[-1] if self.people and rng.chance(0.25) else None
        country = shared.country if shared else rng.choices(self.countries, self._weights)[0]
        mobile = self._pick(country.mobile)
        exits = []
        if rng.chance(0.08):
            for _ in range(rng.randint(1, 3)):
                abroad = rng.chance(1 / 3)
                place = rng.choice(self.countries) if abroad else country
                exits.append(self._line(rng.choice(place.exits)))
        clears = 0.8 if rng.chance(0.07) else 0.0
        devices = [self._device("phone", -rng.uniform(0, 900))]
        if rng.chance(0.7):
            devices.append(self._device("computer", -rng.uniform(0, 1400)))
        return Person(
            number,
            country,
            country.language if rng.chance(0.9) else "en-US",
            shared.home if shared else self._line(self._pick(country.fixed)),
            (mobile, 8 * rng.randrange(mobile.size // 8 - 3)),
            self._line(rng.choice(country.fixed)) if rng.chance(0.55) else None,
            exits,
            rng.chance(0.2),
            clears,
            0.24 / 0.93 if not clears else 0.0,
            [rng.gauss(rng.choice((8, 12.5, 20)), 1.5) for _ in range(rng.randint(1, 3))],
            rng.lognormvariate(math.log(0.12), 0.6),
            devices,
        )

    def _device(self, kind: str, since: float, system: str = "") -> Device:
        rng = self._random
        if kind == "phone":
            system = system or rng.choices(("android", "ios"), (0.6, 0.4))[0]
            model = f"M-{int(60 * rng.random() ** 2)}" if system == "android" else "iPhone"
            family = "safari" if system == "ios" else rng.choices(("chrome", "samsung"), (3, 1))[0]
            return Device(system, family, model, rng.chance(0.5), rng.uniform(0, 40), since)
        system = system or rng.choices(("windows", "macos", "linux"), (0.7, 0.25, 0.05))[0]
        family = rng.choices(
            ("chrome", "edge", "firefox", "safari"),
            (0.6, 0.2, 0.12, 0.2 if system == "macos" else 0),
        )[0]
        return Device(system, family, "", False, rng.uniform(0, 40), since)

    def _logins(self, person: Person, attacks: int, after: float) -> Iterator[Event]:
        rng = self._random
        day, trip = 0.0, (0.0, 0.0, person.country)
        aims = sorted(rng.uniform(after * self.days, self.days) for _ in range(attacks))
        while True:
            step = rng.expovariate(person.rate)
            if day + step >= self.days:
                break
            for aim in [aim for aim in aims if aim < day + step]:
                aims.remove(aim)
                yield from (self._attack(person, aim, kind) for kind in STRENGTHS)
            self._change(person, day, step)
            day += step
            trip = self._trip(person, day, trip)
            yield self._login(person, day, trip)
        for aim in aims:
            yield from (self._attack(person, aim, kind) for kind in STRENGTHS)

    def _change(self, person: Person, day: float, step: float) -> None:
        """Let time pass: lines renumber, devices are replaced, storage is cleared."""
        rng = self._random
        if rng.chance(1 - math.exp(-step / 60)):
            person.home = self._line(person.home[0])
        for place, device in enumerate(person.devices):
            life, kind = (900, "phone") if place == 0 else (1440, "computer")
            if rng.chance(1 - math.exp(-step / life)):
                system = device.system if rng.chance(0.8) else ""
                person.devices[place] = self._device(kind, day, system)
            elif not device.app:
                monthly = 1 - (1 - min(0.95, person.monthly * self._loss)) ** (step / 30)
                gone = rng.random() < person.clears or rng.random() < monthly
                device.tokened = device.tokened and not gone

    def _trip(
        self, person: Person, day: float, trip: tuple[float, float, Country]
    ) -> tuple[float, float, Country]:
        rng = self._random
        if not person.travels or day < trip[1] + 7 or rng.random() > 1 - math.exp(-1 / 5):
            return trip
        abroad = rng.chance(0.4)
        return (
            day,
            day + rng.uniform(3, 14),
            rng.choice(self.countries) if abroad else person.country,
        )

    def _login(self, person: Person, day: float, trip: tuple[float, float, Country]) -> Event:
        rng = self._random
        away = trip[0] <= day < trip[1]
        here = trip[2] if away else person.country
        device = person.devices[0]
        if len(person.devices) > 1 and rng.random() < (0.2 if away else 0.5):
            device = person.devices[1]
        network, line = self._where(person, device, here, away=away)
        at = self._hour(person.peaks, day, here)
        if rng.chance(0.004):
            borrowed = self._device(rng.choice(("phone", "computer")), day)
            return _event(
                at,
                person=person,
                kind="honest",
                network=network,
                line=line,
                header=borrowed.header(day),
                token=False,
            )
        held, device.tokened = device.tokened, True
        return _event(
            at,
            person=person,
            kind="honest",
            network=network,
            line=line,
            header=device.header(day),
            token=held,
        )

    def _where(
        self, person: Person, device: Device, here: Country, *, away: bool
    ) -> tuple[Network, int]:
        rng = self._random
        if person.exits and rng.chance(0.5):
            return rng.choice(person.exits)
        phone = device is person.devices[0]
        moving = phone and rng.chance(0.45)
        if away and not (moving and (here is person.country or rng.chance(0.5))):
            return self._line(self._pick(here.mobile if moving else here.fixed))
        if moving:
            network, base = person.mobile
            return network, base + rng.randrange(24)
        at_work = person.work is not None and rng.chance(0.4)
        return person.work if at_work and person.work else person.home

    def _hour(self, peaks: list[float], day: float, here: Country) -> datetime:
        hour = self._random.gauss(self._random.choice(peaks), 1.2) - here.offset
        return START + timedelta(days=int(day), hours=hour % 24)

    def _attack(self, person: Person, day: float, kind: str) -> Event:
        rng = self._random
        if kind == "naive":
            place = rng.choices(self.countries, self._attack_countries)[0]
            bot = rng.chance(0.3)
            network = self._pick(place.fixed) if bot else rng.choice(place.hosting)
            header, language = (
                self._bot_header(day),
                "en-US" if rng.chance(0.7) else place.language,
            )
            at = START + timedelta(days=day)
            network, line = self._line(network)
            return _event(
                at,
                person=person,
                kind=kind,
                network=network,
                line=line,
                header=header,
                token=False,
                language=language,
            )
        place, targeted = person.country, kind == "targeted"
        proxied = rng.random() < (0.3 if targeted else 0.2)
        network = self._pick(place.fixed + place.mobile) if proxied else rng.choice(place.exits)
        network, line = self._line(network)
        if targeted:
            header = rng.choice(person.devices).header(day)
            at = self._hour([12.0, 16.0, 20.0], day, place)
            return _event(
                at, person=person, kind=kind, network=network, line=line, header=header, token=False
            )
        other = rng.choice(rng.choice(self.people).devices)
        language = place.language if rng.chance(0.6) else "en-US"
        at = START + timedelta(days=day)
        return _event(
            at,
            person=person,
            kind=kind,
            network=network,
            line=line,
            header=other.header(day),
            token=False,
            language=language,
        )

    def _bot_header(self, day: float) -> str:
        rng = self._random
        version = int(112 + day / 28) - rng.choice((0, 0, 0, 1, 2, 8, 20))
        if rng.chance(0.1):
            return "python-requests/2.31"
        system = rng.choices(("windows", "linux", "macos", "android"), (6, 1.5, 1, 1.5))[0]
        return header_of(system, "chrome" if rng.chance(0.83) else "firefox", "K", version)


def _event(  # noqa: PLR0913 - the fields of one event
    at: datetime,
    *,
    person: Person,
    kind: str,
    network: Network,
    line: int,
    header: str,
    token: bool,
    language: str = "",
) -> Event:
    prefix = network.first + line
    ip = f"{prefix >> 16}.{prefix >> 8 & 255}.{prefix & 255}.{1 + person.number % 250}"
    return Event(at, person.number, kind, ip, header, language or person.language, token)
