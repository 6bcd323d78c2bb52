"""A client that openapi-python-client makes of the served document logs a person in."""

import base64
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
import pyotp
import pytest
from click.testing import CliRunner

from service.cli import main
from service.tokens.model import FLOW_GRANT
from tests.functional.conftest import PASSWORD
from tests.functional.test_serving import Server
from tests.lacking import lacks

PACKAGE = "lamina_client"
TOOL = "openapi-python-client"
DOCS = Path(__file__).parents[2] / "docs" / "api.md"
ADDRESS = "http://localhost:8000"
AAL2 = "urn:lamina:acr:aal2"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server, ended in any case."""
    made = Server(tmp_path_factory.mktemp("generated"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def url(server):
    """The address of the server."""
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def operations(url):
    """The operations of the document by their ids."""
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    return {each["operationId"]: each for item in paths.values() for each in item.values()}


@pytest.fixture(scope="module")
def generation(url, operations, tmp_path_factory):
    """The directory of the generated package, and what the generator printed."""
    programs = str(Path(sys.executable).parent)
    tool = shutil.which(TOOL, path=programs)
    if tool is None:
        lacks(TOOL, "run make install")
    directory = tmp_path_factory.mktemp("client")
    (line,) = re.findall(rf"{TOOL} (generate .*)$", documented("sh"), re.MULTILINE)
    run = subprocess.run(
        [tool, *shlex.split(line.replace(ADDRESS, url))],
        cwd=directory,
        # Its formatter is a program too.
        env=os.environ | {"PATH": os.pathsep.join((programs, os.environ["PATH"]))},
        capture_output=True,
        text=True,
        check=False,
    )
    return SimpleNamespace(directory=directory / PACKAGE, run=run)


@pytest.fixture(scope="module")
def api(generation, operations):
    """The generated package: the module of each operation by its id, and the models."""
    assert generation.run.returncode == 0, generation.run.stdout + generation.run.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(generation.directory.parent)
        package = importlib.import_module(PACKAGE)
        modules = {
            name: importlib.import_module(f"{PACKAGE}.api.{each['tags'][0]}.{name}")
            for name, each in operations.items()
        }
        models = importlib.import_module(f"{PACKAGE}.models")
        yield SimpleNamespace(package=package, models=models, **modules)
    for name in [it for it in sys.modules if it.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def application(server, url, api):
    """The generated client with HTTP Basic, and with the access token that it was issued."""
    arguments = ("clients", "create", "shop", "--scope", "all", "--first-party", "--json")
    made = json.loads(CliRunner().invoke(main, arguments, env=server.environment).stdout)
    pair = base64.b64encode(f"{made['client_id']}:{made['client_secret']}".encode()).decode()
    make = partial(
        api.package.AuthenticatedClient,
        url,
        raise_on_unexpected_status=True,
        timeout=httpx.Timeout(120),
    )
    basic = make(token=pair, prefix="Basic")
    asked = api.models.TokenRequest(grant_type="client_credentials")
    with basic:
        issued = api.issue_token.sync(client=basic, body=asked)
        with make(token=issued.access_token) as bearer:
            yield SimpleNamespace(made=made, basic=basic, bearer=bearer)


def test_every_operation_becomes_a_function_without_a_warning(generation, operations):
    """Each stands under its tag and is called by its operation id."""
    assert generation.run.stdout.split("\n") == [f"Generating {PACKAGE}", ""]
    assert (generation.run.returncode, generation.run.stderr) == (0, "")
    files = (generation.directory / "api").glob("*/[!_]*.py")
    assert {(file.parent.name, file.stem) for file in files} == {
        (operation["tags"][0], name) for name, operation in operations.items()
    }


def test_every_model_has_a_name_of_its_own(generation):
    """None is named by its place in a union or by a status: no `…Type0`, no `…Response200`."""
    names = [file.stem for file in (generation.directory / "models").glob("[!_]*.py")]
    assert len(names) > 50
    assert [name for name in names if re.search(r"_(type|response)_\d", name)] == []


def test_no_model_has_a_member_of_its_own_name(api):
    """The generated reader of such a model gives one name to both, with two types."""
    models = [getattr(api.models, name) for name in api.models.__all__]
    named = {model.__name__: model.__module__.rpartition(".")[2] for model in models}
    assert named["FlowView"] == "flow_view"
    assert [it for it in models if named[it.__name__] in it.__annotations__] == []


def test_a_person_signs_in_through_typed_answers(api, application):
    """Register, enroll, two factors, exchange, introspect; each answer is a model of its own."""
    models, client = api.models, application.bearer
    body = models.NewSubject(models.Identifiers(username="alice"), password=PASSWORD)
    alice = api.create_subject.sync(client=client, body=body)
    assert isinstance(alice, models.SubjectView)
    assert (alice.status, alice.identifiers.username) == ("active", "alice")
    codes = enroll_totp(api, client, alice.id)
    begun = models.NewFlow(models.NewFlowKind.LOGIN, identifier="alice")
    flow = api.begin_flow.sync(client=client, body=begun)
    assert isinstance(flow, models.FlowView)
    assert flow.assurance.required.acr == AAL2
    assert isinstance(flow.actions["password"], models.ActionView)
    half = act(api, client, flow, "password", password=PASSWORD)
    assert (half.status, half.assurance.achieved.aal) == ("pending", 1)
    # A code counts once: the next one is valid a step early.
    done = act(api, client, flow, "totp", code=codes.at(time.time() + 30))
    assert (done.status, done.assurance.achieved.acr) == ("completed", AAL2)
    assert half.expires_at.tzinfo is not None
    exchange = models.TokenRequest(FLOW_GRANT, code=done.completion_code)
    tokens = api.issue_token.sync(client=application.basic, body=exchange)
    assert isinstance(tokens, models.TokenView)
    state = api.introspect_token.sync(
        client=application.basic, body=models.TokenReference(tokens.access_token)
    )
    assert isinstance(state, models.IntrospectionView)
    assert (state.active, state.sub, state.acr) == (True, alice.id, AAL2)
    assert {"pwd", "otp"} <= set(state.amr)
    page = api.list_sessions.sync(alice.id, client=client, session_token=tokens.access_token)
    assert [(session.id, session.current) for session in page.items] == [(state.sid, True)]


def test_a_refusal_is_a_typed_problem(api, application):
    """A wrong password with the flow as it stands, invalid input, and errors of OAuth."""
    models, client = api.models, application.bearer
    body = models.NewSubject(models.Identifiers(username="bob"), password=PASSWORD)
    api.create_subject.sync(client=client, body=body)
    begun = models.NewFlow(models.NewFlowKind.LOGIN, identifier="bob")
    flow = api.begin_flow.sync(client=client, body=begun)
    refused = act(api, client, flow, "password", password="wrong")
    assert isinstance(refused, models.Problem)
    assert (refused.status, refused.code) == (422, "verification_failed")
    assert refused.flow.attempts_left == flow.attempts_left - 1
    again = api.create_subject.sync(client=client, body=models.NewSubject(models.Identifiers()))
    assert (again.code, again.errors[0].pointer) == ("invalid_input", "/identifiers")
    form = models.TokenRequest(FLOW_GRANT, code="lcode_x")
    error = api.issue_token.sync(client=application.basic, body=form)
    assert isinstance(error, models.OAuthProblem)
    assert error.error == "invalid_grant"


def test_the_program_of_the_documentation_signs_a_person_in(server, url, generation, application):
    """Beside the generated package and the client that `make serve` leaves in `var/`."""
    program = documented("python")
    assert ADDRESS in program
    directory = generation.directory.parent
    (directory / "client.json").write_text(json.dumps(application.made), "utf-8")
    (directory / "login.py").write_text(program.replace(ADDRESS, url), "utf-8")
    command = [sys.executable, "login.py"]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == re.findall(r"^# -> (.*)$", program, re.MULTILINE)


def documented(kind):
    """Return the block of the documentation that is of a kind, each command in one line."""
    section = DOCS.read_text("utf-8").split("\n## A generated client\n")[1].split("\n## ")[0]
    (block,) = re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return block.replace("\\\n", "")


def enroll_totp(api, client, subject):
    """Enroll a code generator and confirm it; return its codes."""
    body = api.models.Enroll(api.models.EnrollType.TOTP)
    added = api.enroll_authenticator.sync(subject, client=client, body=body)
    codes = pyotp.TOTP(added.secret)
    first = api.models.Confirm(code=codes.now())
    confirmed = api.confirm_authenticator.sync(subject, added.id, client=client, body=first)
    assert (confirmed.id, confirmed.status) == (added.id, "active")
    return codes


def act(api, client, flow, name, **values):
    """Act in a flow that was begun."""
    return api.act_in_flow.sync(
        flow.id,
        name,
        client=client,
        flow_token=flow.flow_token,
        body=api.models.ActionInput.from_dict(values),
    )
