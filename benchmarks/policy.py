"""What a decision costs, and whether risk ever lowers what is asked, over random policies.

    python -m benchmarks.policy [--quick] [--out FILE]

Times are CPU microseconds of this process, medians over rounds in which the contenders take turns.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import orjson
from rich.console import Console
from rich.progress import track
from rich.table import Table

from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import open_container
from service.clients.model import NewClient
from service.domain.assurance import Acr
from service.domain.caller import Caller
from service.domain.errors import BadInput
from service.policy.actions.parsing import parse, shipped
from service.policy.model import parser, replay
from service.policy.model.compiler import Whole, compile_document, require_satisfiable
from service.policy.model.decision import Effect, Facts
from service.policy.model.document import FACTORS
from service.policy.model.engine import decide
from service.risk.model import Assessment, Reason
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine
from tests import policies

ROOT = Path(__file__).parents[1]
TRIED = 100_000
BATCH = 500


def _evidence(*factors: str) -> tuple[Any, ...]:
    found = tuple(policies.evidence(Random(0), factor) for factor in factors)
    return tuple(replace(item, at=policies.NOW) for item in found)


def _facts(**changes: Any) -> Facts:  # noqa: ANN401 - members of any kind
    reasons = tuple(Reason(f"c{n}", "login_context", -0.4, "detail") for n in range(3))
    signals = (
        Assessment(
            signal="behavior", llr=0.8, reasons=(Reason("typing", "behavior", 0.8, "detail"),)
        ),
        Assessment(signal="login_context", llr=-1.2, reasons=reasons),
    )
    enrolled = frozenset({"password", "totp", "recovery_code", "face"})
    found = Facts(
        purpose="login",
        segment="default",
        evidence=_evidence("password", "totp"),
        enrolled=enrolled,
        assessments=signals,
        requested=Acr.NONE,
        max_age=None,
        now=policies.NOW,
        context={"known_device": False, "client": "c"},
    )
    return replace(found, **changes)


def _full() -> Whole:
    """Return the shipped policy with 200 rules, each of a group of four leaves."""
    value = json.loads(parser.canonical(shipped()))
    when = {
        "all": [
            {"field": "hour", "op": "gte", "value": 0},
            {"field": "client", "op": "ne", "value": "x"},
            {
                "any": [
                    {"field": "llr", "op": "lt", "value": -90},
                    {"field": "shown", "op": "contains", "value": "nothing"},
                ]
            },
        ]
    }
    value["segments"]["default"]["rules"] = [
        {"id": f"r{n}", "when": when, "then": {"layers": [["totp"]]}} for n in range(200)
    ]
    return compile_document(parser.read(value))


def _cases() -> dict[str, Callable[[], object]]:
    default = compile_document(shipped())
    bank, full = _worked("bank-psd2"), _full()
    low, risky = _facts(), _facts(assessments=(Assessment(signal="login_context", llr=-5.0),))
    paying = _facts(
        purpose="transaction",
        stage="transaction",
        evidence=(),
        context={
            "amount": 20,
            "currency": "EUR",
            "sum_since_sca": 40,
            "count_since_sca": 2,
            "probability": 0.001,
            "malware": False,
            "integrity": True,
            "new_payee": False,
        },
    )
    step_up = _facts(purpose="step_up", evidence=_evidence("password"))
    decision = decide(default, low)
    return {
        "shipped, low risk": lambda: decide(default, low),
        "shipped, high risk": lambda: decide(default, risky),
        "shipped, step-up": lambda: decide(default, step_up),
        "retail": lambda: decide(_RETAIL, low),
        "bank under PSD2, payment": lambda: decide(bank, paying),
        "200 rules of four leaves": lambda: decide(full, low),
        "facts and decision to JSON": lambda: orjson.dumps(
            [replay.facts_to_json(low), replay.decision_to_json(decision)]
        ),
    }


def _worked(name: str) -> Whole:
    return compile_document(parse((ROOT / "docs" / "policies" / f"{name}.yaml").read_text("utf-8")))


_RETAIL = _worked("retail")


def decisions(rounds: int) -> dict[str, float]:
    """Return CPU microseconds a call, by case."""
    cases = _cases()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in track(range(rounds), "decisions", transient=True):
        for name, act in cases.items():
            calls = BATCH // 20 if name.startswith("200") else BATCH
            begun = time.process_time()
            for _ in range(calls):
                act()
            times[name].append((time.process_time() - begun) / calls * 1e6)
    return {name: statistics.median(values) for name, values in times.items()}


def storing(rounds: int) -> dict[str, float]:
    """Return CPU microseconds of keeping a decision, in a unit of work on SQLite of its own."""
    with tempfile.TemporaryDirectory() as place:
        FileRoot.init(Path(place) / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development",
            database_url=f"sqlite:///{place}/lamina.db",
            face_engine="off",
            root_key=f"file:{place}/keys",
            log_level="error",
        )
        engine = make_engine(settings.database_url)
        migrate.upgrade(engine)
        engine.dispose()
        container = open_container(settings)
        with container.store.transaction() as tx:
            client, _ = container.clients.create(
                tx, NewClient(name="bench", scopes=("flows:write",))
            )
            caller = Caller(client=client.id, scopes=frozenset())
            account = container.accounts.register(tx, caller, {"username": "bench"}, segment=None)
        judged = container.policies.judge(_facts())
        times: dict[str, list[float]] = {"stored, sealed": [], "held risk read": []}
        for _ in range(rounds):
            with container.store.transaction() as tx:
                container.policies.record(tx, account.id, judged)
                begun = time.process_time()
                for _ in range(100):
                    container.policies.record(tx, account.id, judged)
                times["stored, sealed"].append((time.process_time() - begun) * 1e4)
                begun = time.process_time()
                for _ in range(100):
                    container.standing.of(tx, account.id)
                times["held risk read"].append((time.process_time() - begun) * 1e4)
        container.store.engine.dispose()
        return {name: statistics.median(values) for name, values in times.items()}


def never_lowers(tried: int) -> dict[str, Any]:
    """Return how often risk lowered what is asked, over random policies, evidence and signals.

    Every worse case holds lower ratios, hard findings, faults as the worst clip, risk held from
    earlier, a tightened parameter or a higher probability; some policies nobody can satisfy.
    """
    random, effects, found = Random(20261124), dict.fromkeys(Effect, 0), []
    satisfiable = rules = 0
    for number in track(range(tried), "random policies", transient=True):
        whole, before = policies.policy(random), policies.facts(random)
        after = policies.worse(random, before)
        if policies.lowered(whole, before, after):
            found.append(number)
        effects[decide(whole, before).effect] += 1
        rules += sum(map(len, whole.segment("default").rules.values()))
        satisfiable += _satisfiable(whole)
    return {
        "policies": tried,
        "rules": rules,
        "satisfiable": satisfiable,
        "lowered": len(found),
        "first": found[:10],
        "effects": {name.value: count for name, count in effects.items()},
    }


def _satisfiable(whole: Whole) -> bool:
    try:
        require_satisfiable(whole, frozenset(FACTORS))
    except BadInput:
        return False
    return True


def main() -> None:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rounds = 5 if options.quick else 30
    measured: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "cpu": platform.machine()},
        "decision_us": decisions(rounds) | storing(rounds),
        "never_lowers": never_lowers(TRIED // 50 if options.quick else TRIED),
    }
    table = Table("what", "CPU µs", title="one decision")
    for name, value in measured["decision_us"].items():
        table.add_row(name, f"{value:.1f}")
    console = Console()
    console.print(table)
    console.print_json(data=measured["never_lowers"])
    if options.out:
        options.out.write_text(json.dumps(measured, indent=2) + "\n", "utf-8")
    if measured["never_lowers"]["lowered"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
