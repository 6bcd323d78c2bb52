"""HTTP of erasure."""

from collections.abc import Callable, Mapping
from typing import Any

from service.keys.actions.records import RecordKeys
from service.privacy.actions import Erasure
from service.store.engine import Store
from service.web.api import Api, Call, Operation

Served = Callable[[Call], None]


def routes(
    api: Api, database: Store, erasure: Erasure, records: RecordKeys, served: Served
) -> None:
    """Register the operations."""

    def erase(call: Call) -> Mapping[str, Any]:
        served(call)
        return erasure.erase(call.id("subject", "subject"), str(call.by.client)).to_json()

    def keys(_call: Call) -> Mapping[str, Any]:
        with database.transaction(read=True) as tx:
            return records.published(tx)

    api.add(
        Operation(
            "DELETE", "/v1/subjects/{subject}", "Erase a subject; answers the certificate",
            "subjects:erase",
        ),
        erase,
    )  # fmt: skip
    path = "/.well-known/lamina-log-keys"
    api.add(
        Operation("GET", path, "The keys that sign certificates", None, limit="600/minute"), keys
    )
