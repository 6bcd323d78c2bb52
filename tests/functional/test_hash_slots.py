"""The workers of a server hash as many passwords at once as the host has cores, together."""

import threading

import pytest

from crypto import cores
from service.app.factors import _hasher
from service.settings import Settings, hand_down


@pytest.fixture
def handed(monkeypatch):
    """What the server tells its workers is forgotten after a test."""
    for name in ("LAMINA_WORKERS", "_LAMINA_SHARED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return hand_down


def test_workers_share_the_turns_of_their_server(handed, tmp_path):
    """While one worker has all, another gets none; its own count says what there is."""
    handed(2, tmp_path)
    settings = Settings(mode="development", workers=2, hash_slots=2)
    one, other = _hasher(settings), _hasher(settings)
    assert one.load().turns == other.load().turns == 2
    done = threading.Event()

    def hash_one():
        other.hash("a password")
        done.set()

    with one._turn():
        with one._turn():
            thread = threading.Thread(target=hash_one)
            thread.start()
            while not other.load().waiting:
                pass
            assert (other.load().taken, done.is_set()) == (0, False)
        assert done.wait(120)
        thread.join()


def test_without_a_setting_there_is_one_for_each_core():
    """Of those that the process may use; alone, or beside others without a common directory."""
    assert _hasher(Settings(mode="development")).load().turns == cores.count() >= 1
    divided = _hasher(Settings(mode="development", workers=2, hash_slots=6))
    assert divided.load().turns == 3
    assert _hasher(Settings(mode="development", workers=8, hash_slots=2)).load().turns == 1
