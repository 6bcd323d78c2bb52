#!/usr/bin/env bash
# prometheus_client: a registry that is registered in another is left out of every filtered scrape.
#
# Guess before running: a CollectorRegistry has `collect`, as a collector must, so that one may be
#   registered in another, and all that the outer serves may be asked for by name (`?name[]=`).
# Version: prometheus_client 0.26.0, Python 3.11.
# Behavior: the outer registry serves the metrics of the inner one while nothing is filtered. A
#   scrape by name finds those that are registered in the outer one only, and is an empty 200 for
#   those of the inner: a registry has no `describe`, so that the outer knows none of its names. No
#   error is raised, neither when it is registered nor when it is scraped.
# Seen: whole: inner 1, outer 1; by name: inner 0, outer 1.
# For us: metrics that two addresses show are registered in both registries, one by one.
set -euo pipefail
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check prometheus_client==0.26.0
seen="$("$place/venv/bin/python" - <<'PY'
from prometheus_client import CollectorRegistry, Gauge, generate_latest

inner, outer = CollectorRegistry(), CollectorRegistry()
Gauge("inner", "Of the inner registry.", registry=inner)
Gauge("outer", "Of the outer registry.", registry=outer)
outer.register(inner)


def count(registry):
    text = generate_latest(registry).decode()
    return ", ".join(f"{name} {text.count(f'# TYPE {name} ')}" for name in ("inner", "outer"))


asked = outer.restricted_registry(["inner", "outer"])
print(f"whole: {count(outer)}; by name: {count(asked)}")
PY
)"
echo "$seen"
test "$seen" = "whole: inner 1, outer 1; by name: inner 0, outer 1"
