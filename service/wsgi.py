"""Entry points of servers: `front` for ASGI, with deadlines on bodies, and `app` for WSGI."""

import ctypes
import gc
import math
import os

from crypto import cores
from service.app import create_app, open_container
from service.settings import load, shared_directory
from service.telemetry import core_dumps
from service.web.front import Front
from service.web.queues import Queues

# From glibc's malloc.h: what `mallopt` sets. One arena rather than one for each of many threads;
# what an inference has used is given back, while a hash's 19 MiB are not mapped anew each time.
_MALLOC = {-8: 1, -3: 32 * 2**20, -1: 16 * 2**20}

_mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
if _mallopt is not None:
    for _option, _value in _MALLOC.items():
        _mallopt(_option, _value)

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
