"""The service as the functional tests have it."""

from tests.functional.conftest import clock, service, settings, url

__all__ = ["clock", "service", "settings", "url"]
