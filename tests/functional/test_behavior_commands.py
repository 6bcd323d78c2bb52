"""`lamina behavior reset`, and the model that a process starts with."""

import json
from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from click.testing import CliRunner

from biometrics.behavior.model import DEFAULT, load, save
from crypto.hashing import PasswordHasher
from service.app import open_container
from service.cli import main
from service.domain.errors import SetupError
from tests.functional.behaving import AGREED, behave, learned
from tests.typists import typists, wire


@dataclass
class Host:
    """The command line on the database of a service."""

    environment: dict[str, str]

    def __call__(self, *arguments, **changes):
        return CliRunner().invoke(main, arguments, env=self.environment | changes)


@pytest.fixture
def lamina(settings):
    """Run a command beside the service; a command ends with its process, so on SQLite only."""
    if not settings.sqlite:
        pytest.skip("a command leaves its connection to the end of the process")
    return Host(
        {
            "LAMINA_MODE": "development",
            "LAMINA_DATABASE_URL": settings.database_url,
            "LAMINA_ROOT_KEY": settings.root_key,
            "LAMINA_FACE_ENGINE": "off",
        }
    )


def test_an_operator_resets_a_profile_and_leaves_an_alarm(service, lamina):
    """By name or id; whoever is not there is told so, and a second time there is nothing."""
    person = service.register(consents=AGREED)
    samples = [wire(row) for row in typists(1)[0][:6]]
    behave(service, person, rest="/samples", body={"samples": samples})
    assert learned(service, person) == 6
    done = lamina("behavior", "reset", "alice", "--json")
    assert json.loads(done.stdout) == {"subject": person.id, "profiles": 1}
    assert learned(service, person) == 0
    assert "0 profiles" in lamina("behavior", "reset", person.id).stdout
    for nobody in ("nobody", "0198c0de-0000-7000-8000-000000000000"):
        assert lamina("behavior", "reset", nobody).exit_code == 1
    with service.container.store.transaction() as tx:
        waiting = service.container.outbox.waiting(tx, reveal=True)
    alarms = [item["payload"] for item in waiting if item["kind"] == "alarm.break_glass"]
    assert alarms == [{"command": "behavior reset"}] * 2


def test_a_model_of_ones_own_is_loaded_once_at_the_start(service, settings, tmp_path):
    """Its scores are what counts; the file may then go."""
    models = load(DEFAULT)
    path = tmp_path / "ours.npz"
    save({"keystroke": models["keystroke"]}, path)
    changed = settings.model_copy(update={"behavior_model": path})
    container = open_container(changed, service.clock, PasswordHasher.unsafe_for_tests())
    path.unlink()
    person = service.register(consents=AGREED)
    rows = typists(1)[0]
    samples = {"samples": [wire(row) for row in rows[:6]]}
    behave(service, person, rest="/samples", body=samples)
    sample = container.behaviors.parse(wire(rows[8]), "")
    caller = container.tokens.authorize(service.bearer)
    found = container.measuring.score(caller, UUID(person.id), sample, "")
    assert found["signals"]["keystroke"]["samples"] == 6
    assert found["llr"] != 0
    container.store.engine.dispose()


def damaged(kind):
    """Return the bytes of a file that is a model but for one thing."""
    models = load(DEFAULT)
    stroke, motion = models["keystroke"], models["motion"]
    heads = {key: motion.heads[key] for key in stroke.heads if key in motion.heads}
    made = {
        "no keystrokes": {"motion": motion},
        "another population": {"keystroke": replace(stroke, known=motion.known)},
        "other heads": {"keystroke": replace(stroke, heads=heads)},
    }
    return made[kind]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"PK no archive",
        b"x" * 100,
        "cut",
        "no keystrokes",
        "another population",
        "other heads",
    ],
)
def test_a_bad_model_stops_the_start_with_one_line(service, lamina, settings, tmp_path, content):
    """Absent, damaged, or unable to score: the line names the setting and the file."""
    path = tmp_path / "bad.npz"
    if content == "cut":
        whole = DEFAULT.read_bytes()
        path.write_bytes(whole[:20_000] + bytes(2000) + whole[22_000:])
    elif isinstance(content, str):
        save(damaged(content), path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupError) as refused:
        open_container(settings.model_copy(update={"behavior_model": path}), service.clock)
    assert len(refused.value.detail.splitlines()) == 1
    answer = lamina("doctor", LAMINA_BEHAVIOR_MODEL=str(path))
    assert answer.exit_code == 1
    (line,) = [it for it in answer.stdout.splitlines() if "LAMINA_BEHAVIOR_MODEL" in it]
    assert line.startswith("finding")
    assert "bad.npz" in line
    # Nobody is advised to open a file of code.
    assert "pickle" not in answer.output
