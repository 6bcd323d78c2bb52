"""A request has the queue of its operation, however its method and path are written."""

import pytest

from service.web.queues import Effort


@pytest.mark.parametrize(
    ("method", "path", "effort"),
    [
        ("POST", "/v1/flows", Effort.START),
        ("post", "/v1/flows", Effort.START),
        ("Post", "//v1/flows", Effort.START),
        ("POST", "/v1/flows/1/actions/totp", Effort.STEP),
        ("GET", "/v1/flows/1", Effort.QUICK),
        ("POST", "/oauth2/token", Effort.QUICK),
        ("GET", "/healthz", Effort.NONE),
        ("GET", "/nothing", Effort.QUICK),
    ],
)
def test_the_effort_of_a_request(service, method, path, effort):
    """Routes are found for those spellings, so the queue is as well."""
    assert service.app.extensions["lamina.api"].effort_of(method, path) is effort
