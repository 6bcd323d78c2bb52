"""Callers that go on whatever happens to the database, and remember what they were answered."""

import threading
import time
from collections import Counter

PATIENCE = 60.0
PAUSE = 0.1


class Traffic:
    """Threads that register people and look them up, each from an address of its own."""

    def __init__(self, service, threads=3):
        self.service = service
        self.answers = Counter()
        self.registered = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._go_on, args=(number,)) for number in range(threads)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, number):
        client, turn = self.service.app.test_client(), 0
        common = {
            "headers": {"Authorization": f"Bearer {self.service.bearer}"},
            "environ_base": {"REMOTE_ADDR": f"192.0.2.{number + 1}"},
        }
        while not self._stop.wait(PAUSE):
            turn += 1
            name = f"person{number}x{turn}"
            body = {"identifiers": {"username": name}}
            made = client.post("/v1/subjects", json=body, **common)
            self._note("write", made)
            if made.status_code == 201:
                self.registered[made.json["id"]] = name
                self._note("read", client.get(f"/v1/subjects/{made.json['id']}", **common))

    def _note(self, kind, answer):
        code = answer.json.get("code", "") if answer.status_code >= 400 else ""
        with self._lock:
            self.answers[kind, answer.status_code, code] += 1

    def statuses(self):
        """Return every status that was answered."""
        return {status for _, status, _ in self.answers}

    def goes_on(self):
        """Wait until somebody more was registered and looked up."""
        with self._lock:
            before = self.answers["read", 200, ""]
        until(lambda: self.answers["read", 200, ""] > before)


def until(holds):
    """Wait until something holds; return the seconds that it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.05)
    return time.monotonic() - begun
