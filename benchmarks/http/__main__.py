"""Measure Lamina over HTTP, beside an older build and installed peers, in interleaved rounds.

Starts `lamina serve` with two workers and `lamina worker` on a PostgreSQL and a Redis of their own,
makes persons with a password and TOTP, and does each operation over keep-alive connections. Every
answer is checked. Targets take turns; whoever waits stands still (SIGSTOP), its worker too.

Example: python -m benchmarks.http --base v1.2 --ops login,introspect --rounds 7 --out http.json

Exit code: 0; 1 if an answer was wrong or a peer did not start; 2 if ours or a setting was; 130 and
143 after Ctrl-C and SIGTERM. All that was started is ended, whatever the code.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.http import figures, registry, turns
from benchmarks.http.figures import Found
from benchmarks.http.lamina import LaminaTarget
from benchmarks.http.load import Persons
from benchmarks.http.room import OwnRoom
from benchmarks.http.target import OPERATIONS, Lacking, Target, Wrong
from benchmarks.http.turns import Plan, Seat

_PLAN: Final = Plan(OPERATIONS)
_QUICK: Final = Plan(OPERATIONS, rounds=2, seconds=0.8, most=16, settle=2.0, spare=4)
_ENDED: Final = 128


def say(line: str) -> None:
    """Show progress, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def seat(target: Target, plan: Plan, place: Path, after: ExitStack) -> Seat:
    """Start a target in a room of its own and let it stand still; raises Lacking and Wrong.

    Args:
        target: The target.
        plan: How many persons it needs.
        place: Where its room is made.
        after: Ends the target, also if it fails to start.
    """
    say(f"{target.name}: starting")
    room = OwnRoom(place)
    after.callback(room.close)
    after.callback(target.stop)
    # Runs first: ending must not be interrupted, or what is left would go on running.
    after.callback(_calm)
    target.start(room, plan.persons)
    made = Seat(target, room, Persons(plan.persons), Found(target.name, target.about))
    turns.warm(made, plan, say)
    return made


def run(targets: Sequence[Target], plan: Plan, top: Path) -> tuple[list[Found], dict[str, str]]:
    """Measure targets; return what was found, and why each other one did not start.

    Raises:
        Lacking: The first target did not start.
        Wrong: The first target gave a wrong answer before it was measured.
    """
    seats: list[Seat] = []
    failed: dict[str, str] = {}
    with ExitStack() as after:
        for number, target in enumerate(targets):
            try:
                with ExitStack() as ending:
                    made = seat(target, plan, top / f"target-{number}", ending)
                    after.push(ending.pop_all())
                    seats.append(made)
            except (Lacking, Wrong) as error:
                if not number:
                    raise
                _heed()
                failed[target.name] = str(error)
                say(f"{target.name}: did not start: {error}")
        turns.take_turns(seats, plan, say)
        for one in seats:
            turns.look(one, plan.seconds)
    return [one.found for one in seats], failed


def _calm() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _heed() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _exit)


def _exit(sign: int, _frame: FrameType | None) -> None:
    raise SystemExit(_ENDED + sign)


def about(plan: Plan) -> dict[str, Any]:
    """Return what is known of the machine and of the run."""
    text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    model = next((line for line in text.splitlines() if line.startswith("model name")), "")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "processor": model.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "rounds": plan.rounds,
        "connections": plan.connections,
        "seconds": plan.seconds,
        "persons": plan.persons,
    }


def _machine(known: Mapping[str, Any]) -> str:
    """Return the line that says where and when; a busy machine falsifies rates and waits."""
    text = "{date}, {cores} cores of {processor}, {rounds} rounds with {connections} connections; "
    text += "load of the machine {load_before} before and {load_after} after"
    return text.format(**known)


def chosen(options: argparse.Namespace) -> Plan:
    """Return the plan that the options ask for."""
    plan = _QUICK if options.quick else _PLAN
    return Plan(
        operations=options.ops or OPERATIONS,
        rounds=options.rounds or plan.rounds,
        connections=options.connections or plan.connections,
        seconds=plan.seconds,
        most=max(plan.most, options.connections or 0),
        settle=plan.settle,
        spare=plan.spare,
    )


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        found = [name for name in text.split(",") if name]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return found

    return read


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:  # noqa: PLR2004 - processes
        raise argparse.ArgumentTypeError("must be a number from 1 to 256")
    return int(text)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; exits with 2 if one is wrong."""
    text, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http",
        description=text,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", default="", help="an older revision, measured beside this one")
    parser.add_argument("--ops", type=_names(OPERATIONS), help=f"of {','.join(OPERATIONS)}")
    parser.add_argument("--peers", type=_names(registry.PEERS), help="instead of all installed")
    parser.add_argument("--rounds", type=_count, help="rounds (5; quick 2)")
    parser.add_argument("--connections", type=_count, help="keep-alive connections (8)")
    parser.add_argument("--quick", action="store_true", help="a minute, without peers")
    parser.add_argument("--out", type=Path, help="write JSON here")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and store; return the exit code."""
    options = parse(arguments)
    plan = chosen(options)
    peers = options.peers or ([] if options.quick else registry.installed())
    _heed()
    known = about(plan)
    # PostgreSQL has a user of its own, who must be able to pass through.
    top = Path(tempfile.mkdtemp(prefix="lamina-bench-"))
    top.chmod(0o711)
    try:
        targets: list[Target] = [LaminaTarget("", say)]
        if options.base:
            targets.append(LaminaTarget(options.base, say))
        targets += [registry.peer(name) for name in peers]
        found, failed = run(targets, plan, top)
    except (Lacking, Wrong) as error:
        say(f"bench-http: {error}")
        return 2
    except KeyboardInterrupt:
        say("bench-http: interrupted; everything was ended")
        return _ENDED + signal.SIGINT
    finally:
        shutil.rmtree(top, ignore_errors=True)
    known["load_after"] = round(os.getloadavg()[0], 2)
    print("\n".join([*figures.table(found), "", *figures.remarks(found), "", _machine(known)]))
    for name, why in failed.items():
        print(f"{name}: did not start: {why}")
    if options.out:
        content = figures.document(found, known) | {"did_not_start": failed}
        options.out.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return 1 if failed or any(one.wrong for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
