"""Which requests hash or infer, by what their operations say of themselves."""

import functools

from flask import current_app, has_request_context, request

from crypto.hashing import PasswordHasher
from service.factors.face.engine_pool import EnginePool


def watch_efforts(patch):
    """Return the efforts of the requests that take turns from now on."""
    efforts = []

    def watching(turn, *args):
        if has_request_context():
            # A request within another has a context of its own, but `g` is that of both.
            effort_of = current_app.extensions["lamina.api"].effort_of
            efforts.append(effort_of(request.method, request.path))
        return turn(*args)

    for turns in (PasswordHasher, EnginePool):
        watched = functools.partialmethod(functools.partial(watching, turns._turn))
        patch.setattr(turns, "_turn", watched)
    return efforts
