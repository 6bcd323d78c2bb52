"""The reason texts of contributions, without any observed value."""

from typing import Final

_DETAILS: Final = {
    "no_history": "nothing was learned about this person yet",
    "history_unreadable": "the history does not open and counts as the worst",
    "device_known": "the device holds the token of its last login",
    "device_unknown": "no token of a known device came with the login",
    "network_known": "signed in from this network before",
    "network_new_in_known_wide": "a new network near one that was used before",
    "network_new_in_known_asn": "a new address range of a provider that was used before",
    "network_new_in_known_country": "a new provider in a country that was seen before",
    "network_new": "nothing near this network was seen before",
    "network_learning": "networks are not learned yet",
    "network_not_offered": "no address was sent, now or before",
    "network_withheld": "an address was sent before but not now",
    "agent_known": "signed in with such a device and browser before",
    "agent_new_in_known_platform": "a new model with a browser and system that were used before",
    "agent_new_in_known_system": "a new browser on a system that was used before",
    "agent_new": "a system that was not seen before",
    "agent_learning": "devices are not learned yet",
    "agent_not_offered": "no user agent was sent, now or before",
    "agent_withheld": "a user agent was sent before but not now",
    "version_grown": "the version is as new as before or newer",
    "version_older": "the version is older than one that was seen before",
    "language_known": "this language was seen before",
    "language_new_in_known_language": "a new variety of a language that was seen before",
    "language_new": "a language that was not seen before",
    "language_learning": "languages are not learned yet",
    "language_not_offered": "no language was sent, now or before",
    "language_withheld": "a language was sent before but not now",
    "hour_usual": "an hour at which this person signs in",
    "hour_unusual": "an hour at which this person seldom signs in",
    "failures_of_subject": "attempts on this account failed in the last hour",
    "failures_of_network": "attempts from this network failed in the last hour",
    "failures_everywhere": "many more attempts than usual fail everywhere",
    "listed_network": "the network is on the list of known bad ones",
    "impossible_travel": "no one can travel here so fast from the last login",
    "address_unreadable": "the address sent is malformed and counts as absent",
}
CODES: Final = frozenset(_DETAILS)


def detail(code: str) -> str:
    """Return the text of a reason code."""
    return _DETAILS[code]
