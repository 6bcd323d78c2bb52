"""Which requests hash or infer, by what their operations say of themselves."""

import functools

from flask import g, has_app_context

from crypto.hashing import PasswordHasher
from service.factors.face.engine_pool import EnginePool


def watch_efforts(patch):
    """Return the efforts of the operations that take turns from now on, None outside a request."""
    efforts = []

    def watching(turn, *args):
        asked = g.get("operation") if has_app_context() else None
        efforts.append(asked and asked.effort)
        return turn(*args)

    for turns in (PasswordHasher, EnginePool):
        watched = functools.partialmethod(functools.partial(watching, turns._turn))
        patch.setattr(turns, "_turn", watched)
    return efforts
