"""Entry points of servers: `front` for ASGI, with deadlines on bodies, and `app` for WSGI."""

import gc
import math
import os

from crypto import cores, memory
from service.app import create_app, open_container
from service.settings import load, shared_directory
from service.telemetry import core_dumps
from service.web.front import Front
from service.web.queues import Queues

memory.keep_for_hashes()
core_dumps.forbid()
# What this process makes on the disk is its own.
os.umask(0o077)
container = open_container(load())
app = create_app(container)
_settings = container.settings
# While some hash, as many read and write; more would only share the same cores. Without a directory
# that the workers share, each has its part of the turns already.
_shared = shared_directory()
_turns = container.password.busy().turns / (_settings.workers if _shared else 1)
_slow = 2 * math.ceil(_turns) + 2
front = Front(app, queues=Queues(app.extensions["lamina.api"].effort_of, slow=_slow))
# The first person must not wait for the models to load.
container.face.available()
container.erasure.compare()
if container.settings.metrics_bind:
    container.metrics.expose(container.settings.metrics_bind, container.settings.workers)
if _shared:
    _number = container.metrics.share(_shared, container.settings.workers)
    if _number is not None:
        # Every thread that is started from here on follows this one.
        cores.keep_to_one(_number, container.settings.workers)
container.keys.instances.start()
container.watch.start()
container.announcements.start()
if container.settings.sqlite:
    # One file has one writer at a time: the background work runs inside the server.
    container.jobs.start()
    container.key_admin.jobs.start()
# What is made until here lives as long as the process: no collection has to walk it again.
gc.collect()
gc.freeze()
