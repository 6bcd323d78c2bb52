"""The service as the functional tests have it."""

from tests.functional.conftest import clock, patient, service, settings, url

__all__ = ["clock", "patient", "service", "settings", "url"]
