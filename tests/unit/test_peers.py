"""The peers of the HTTP benchmark, as far as none is installed: locks, installer, plain words."""

import json
import re
import sys

import pytest

from benchmarks.http import procs, registry
from benchmarks.http.peers import __main__ as program
from benchmarks.http.peers import common, install
from benchmarks.http.registry import MARK, PEERS, installed, peer
from benchmarks.http.target import OPERATIONS, Lacking, Operation, Wrong

PINNED = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z0-9, ]+\])?==([^ \\;]+)", re.MULTILINE)


class NoRoom:
    """A room that nothing may ask for anything: whoever lacks a peer has to say so before."""


class Listing:
    """A target that lists an empty folder, and is wrong about one person."""

    name = "listing"
    wrong_about = None

    def start(self, room, persons):
        self.persons = persons
        self.port = room.port()
        folder = room.folder / "served"
        folder.mkdir()
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(self.port)]
        self.server = room.spawn(command, {}, folder)
        room.answers(self.port, "/")

    def enter(self, connection):
        connection.headers["Accept"] = "text/html"

    def list_folder(self, connection, person, prepared):
        answer = connection.get("/")
        connection.close()
        if person == self.wrong_about:
            raise Wrong(f"list: {answer.status} is not the answer that proves it")
        assert (answer.status, prepared) == (200, person)
        return prepared

    @property
    def operations(self):
        prepared = {"prepare": lambda _, person: person}
        return {
            "healthz": Operation(self.list_folder, **prepared),
            "sessions": Operation(self.list_folder, lasting=True, **prepared),
        }

    def processes(self):
        return [self.server]

    def stop(self):
        self.stopped = True


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return an empty folder of installed peers."""
    monkeypatch.setattr(common, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PEERS)
def test_each_peer_has_a_target_with_operations_of_ours(name):
    found = peer(name)
    assert found.name == name
    assert found.operations
    assert set(found.operations) <= set(OPERATIONS)
    assert {"version", "server", "hash", "unlike"} <= set(found.about)


@pytest.mark.parametrize("name", PEERS)
def test_every_package_of_a_peer_is_pinned_with_its_hash(name):
    found = install.lock(name)
    text = found.read_text("utf-8")
    assert "://" not in re.sub(r"\"(url|engines|funding)\": .*", "", text), "a host is named"
    if found.name == install.NODE_LOCK:
        packages = json.loads(text)["packages"]
        wanted = json.loads((found.parent / "package.json").read_text("utf-8"))["dependencies"]
        assert packages.pop("")["dependencies"] == wanted
        assert {place for place in packages if "integrity" not in packages[place]} == set()
        for one, version in wanted.items():
            assert packages[f"node_modules/{one}"]["version"] == version
    else:
        blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
        assert blocks
        assert all(PINNED.match(block) and "--hash=sha256:" in block for block in blocks)
        pinned = {found[1]: found[2] for found in map(PINNED.match, blocks) if found}
        wanted = (found.parent / "requirements.in").read_text("utf-8").lower()
        for one in wanted.split():
            distribution, _, version = one.partition("==")
            held = pinned[distribution.partition("[")[0]]
            assert version in {"", held}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_not_installed_says_what_to_run(name, folder):
    with pytest.raises(Lacking, match=f"make bench-peers PEER={name}`$"):
        peer(name).start(NoRoom(), 1)


@pytest.mark.parametrize("name", PEERS)
def test_a_check_of_what_is_not_installed_is_one_line(name, folder, capsys):
    assert program.main([name, "--check"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{name}: {name} is not installed: run `make bench-peers PEER={name}`\n"


def test_a_peer_half_installed_is_not_installed(tmp_path):
    (tmp_path / PEERS[0]).mkdir()
    assert installed(tmp_path) == []
    (tmp_path / PEERS[0] / MARK).touch()
    assert installed(tmp_path) == [PEERS[0]]


def test_a_peer_that_fails_is_named_and_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    asked = []

    def run(_command, home):
        asked.append(home.name)
        if home.name == "django-allauth":
            raise install.Failed("no such package")

    monkeypatch.setattr(install, "_run", run)
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    monkeypatch.setattr(install.shutil, "which", lambda _: "npm")
    assert install.main([]) == 1
    told = capsys.readouterr()
    assert "django-allauth: failed: no such package" in told.out
    assert told.err == "not installed: django-allauth\n"
    assert installed(tmp_path) == [name for name in PEERS if name != "django-allauth"]

    # What is there stays, what failed is tried again.
    asked.clear()
    assert install.main([]) == 1
    assert set(asked) == {"django-allauth"}


def test_another_lock_installs_a_peer_again(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "_run", lambda *_: None)
    name = "fastapi-users"
    assert install.install(name, tmp_path)
    assert not install.install(name, tmp_path)
    (tmp_path / name / MARK).write_text("of another lock", "utf-8")
    assert install.install(name, tmp_path)


def test_an_unknown_peer_is_refused(capsys):
    for refused in (install.main, program.main):
        with pytest.raises(SystemExit, match="2"):
            refused(["keycloak"])
        assert "keycloak" in capsys.readouterr().err


def test_registry_and_applications_name_the_same_peers():
    assert {entry.name for entry in common.APPS.iterdir()} == set(registry.PEERS)


def test_a_check_does_every_operation_for_each_and_leaves_nothing(tmp_path, capsys):
    target = Listing()
    assert program.check(target, 5, tmp_path / "room") == []
    assert capsys.readouterr().out == (
        "listing: healthz: 5 answers are right\nlisting: sessions: 10 answers are right\n"
    )
    assert target.persons == 10
    assert target.stopped
    assert not procs.runs(target.server)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_answer_fails_the_check_and_leaves_nothing(monkeypatch, capsys):
    target = Listing()
    target.wrong_about = 3
    monkeypatch.setattr(program, "peer", lambda _: target)
    assert program.main(["fastapi-users", "--check", "--persons", "4"]) == 1
    said = capsys.readouterr().err
    assert said == "fastapi-users: wrong: list: 200 is not the answer that proves it\n"
    assert target.stopped
    assert not procs.runs(target.server)
