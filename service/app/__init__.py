"""The composition root: the only place where features are wired together.

Members are imported on first use: a command that lists clients needs neither Flask nor the face
models.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from service.app.container import Container, open_container
    from service.app.desk import Desk, open_desk
    from service.app.ground import open_key_store
    from service.app.http import create_app
    from service.app.key_setup import open_recovery

__all__ = [
    "Container",
    "Desk",
    "create_app",
    "open_container",
    "open_desk",
    "open_key_store",
    "open_recovery",
]
_HOMES: Final = {
    "Desk": "desk",
    "Container": "container",
    "create_app": "http",
    "open_desk": "desk",
    "open_container": "container",
    "open_recovery": "key_setup",
    "open_key_store": "ground",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the above
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{home}"), name)
