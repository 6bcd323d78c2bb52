"""`lamina keys rotate`: the whole rotation of a tier, resumable after any step.

It stores no progress: the next step follows from the states of the keys, and each step changes all
classes or none. So a command that was interrupted is simply run again.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

from service.cli.base import counted, json_option, settings, show
from service.cli.choices import TIERS
from service.cli.long import PARTIAL, refusals
from service.domain.errors import Conflict, SetupError

if TYPE_CHECKING:
    from service.app import Container
    from service.keys.views import KekView
    from service.store.engine import Tx
    from service.web.jobs import JobView

T = TypeVar("T")
_WAITS: Final = frozenset({"key_not_everywhere", "key_not_settled", "job_running"})
_PAUSE: Final = 5.0


@click.command()
@click.option("--tier", type=click.Choice(TIERS), default="kek", show_default=True)
@click.option("--class", "key_class", help="Only this key class (kek, data, root).")
@click.option(
    "--wait", is_flag=True, help="Wait until each state has settled and all instances know it."
)
@json_option
@refusals
def rotate(tier: str, key_class: str | None, *, wait: bool, as_json: bool) -> None:
    """Rotate a tier from the first step to the last, or resume an interrupted rotation.

    Without --wait, exits with 2 at the first step that must wait, and names the reason. No key is
    destroyed: run `keys destroy` yourself as the last line says.

    Example: lamina keys rotate --tier kek --wait
    """
    if key_class and tier in {"signing", "index"}:
        raise SetupError("bad_class", f"keys of tier {tier} have no class: omit --class")
    from service.app import open_container

    run = _Rotation(open_container(settings()), key_class, wait=wait)
    run.rotate(tier)
    then = _THEN[tier]
    answer = {"tier": tier, "class": key_class, "steps": run.steps, "then": then}
    show(answer, as_json=as_json, text=f"{tier} rotated; then: {then}")


_VERIFY: Final = "lamina keys verify"
_THEN: Final = {
    "kek": f"{_VERIFY}; lamina keys destroy --class C --version N --yes; a new recovery export",
    "data": _VERIFY,
    "signing": "nothing",
    "index": _VERIFY,
    "root": f"{_VERIFY}; lamina keys destroy --tier root --class C --version N --yes",
}


class _Rotation:
    """One run of the command."""

    def __init__(self, container: "Container", key_class: str | None, *, wait: bool) -> None:
        self.steps: list[dict[str, object]] = []
        self._container = container
        self._class = key_class
        self._wait = wait

    def rotate(self, tier: str) -> None:
        """Run all remaining steps."""
        ways: dict[str, Callable[[], None]] = {
            "kek": self._kek,
            "data": self._data,
            "signing": self._signing,
            "index": self._index,
            "root": self._root,
        }
        ways[tier]()

    def _kek(self) -> None:
        states = self._states()
        if not states & {"pending", "retiring"}:
            self._act("generate", "kek")
        if "pending" in self._states():
            self._act("promote", "kek")
        while True:
            self._job("rewrap", "kek")
            try:
                self._act("retire", "kek")
                break
            except Conflict as error:
                if error.code != "key_in_use":
                    raise
                # A process without the new key has wrapped under the old one meanwhile.

    def _data(self) -> None:
        try:
            # This ends a rotation that was interrupted after its last page.
            if self._act("retire", "data"):
                return
        except Conflict as error:
            if error.code != "key_in_use":
                raise
        self._job("reencrypt", None)
        self._act("retire", "data")

    def _signing(self) -> None:
        states = set(self._container.signing.states().values())
        if not states & {"pending", "verify_only"}:
            self._act("generate", "signing")
            states.add("pending")
        if "pending" in states:
            self._act("promote", "signing")
        self._act("retire", "signing")

    def _index(self) -> None:
        if len(self._index_states()) == 1:
            self._act("generate", "index")
        if "pending" in self._index_states():
            self._act("promote", "index")
        if "writing" in self._index_states():
            self._job("reindex", None)
            self._act("promote", "index")
        if "retiring" in self._index_states():
            self._act("promote", "index")
        self._job("reindex", None)

    def _root(self) -> None:
        newest = self._container.key_store.roots_held()
        rows = [row for row in self._rows() if row["class"] in newest]
        behind = [row["class"] for row in rows if row["root_version"] < newest[row["class"]]]
        # A rotation interrupted during generation continues with the classes without a new root.
        least = max(newest[row["class"]] for row in rows) if behind else 0
        classes = sorted(
            {row["class"] for row in rows if not behind or newest[row["class"]] < least}
        )
        for name in classes:
            self._act("generate", "root", name)
        self._job("rewrap", "root")

    def _rows(self) -> "list[KekView]":
        with self._container.store.transaction() as tx:
            self._container.key_store.refresh(tx)
            rows = self._container.key_store.status(tx)
        return [row for row in rows if self._class in {None, row["class"]}]

    def _states(self) -> set[str]:
        return {str(row["status"]) for row in self._rows()}

    def _index_states(self) -> set[str]:
        self._rows()
        return {str(status) for status in self._container.key_store.index_states().values()}

    def _act(self, verb: str, tier: str, key_class: str | None = None) -> bool:
        """Run one step; return whether it changed anything."""
        from service.operators.actions import BREAK_GLASS

        act = getattr(self._container.key_admin, verb)
        chosen = key_class or self._class

        def once(tx: "Tx") -> list[str]:
            names: list[str] = act(tx, tier, chosen, BREAK_GLASS)
            self._container.operators.break_glass.alarm(tx, f"keys {verb}")
            return names

        names = self._patiently(lambda: self._committed(once))
        if names:
            self._tell(verb, {"keys": names}, ", ".join(names))
        return bool(names)

    def _committed(self, once: Callable[["Tx"], list[str]]) -> list[str]:
        with self._container.store.transaction() as tx:
            self._container.key_store.refresh(tx)
            return once(tx)

    def _job(self, kind: str, tier: str | None) -> None:
        """Run a long job to its end."""
        jobs = self._container.key_admin.jobs
        from service.operators.actions import BREAK_GLASS

        params = self._container.key_admin.params(
            kind, tier, self._class if kind != "reindex" else None
        )

        def once() -> "JobView":
            with self._container.store.transaction() as tx:
                # So that a key promoted just now is used from the first page on.
                self._container.key_store.refresh(tx)
                number = jobs.plan(tx, kind, params, BREAK_GLASS)
                self._container.operators.break_glass.alarm(tx, f"keys {kind}")
            # If another job of this kind runs, wait for it and do not queue this one twice.
            view = self._patiently(lambda: jobs.run(number))
            if (code := view["report"].get("error")) in _WAITS:
                raise Conflict(str(code), str(view["report"]["detail"]))
            return view

        view = self._patiently(once)
        self._tell(kind, {"rows": view["done"]}, counted(view["done"], "row"))
        if view["status"] != "done":
            failed = view["report"].get("failed")
            left = view["report"].get("detail") or counted(
                failed if isinstance(failed, int) else 0, "row"
            )
            click.echo(
                f"lamina: {kind} is {view['status']}: {left}; see: lamina keys {kind}", err=True
            )
            raise SystemExit(PARTIAL)

    def _patiently(self, act: Callable[[], T]) -> T:
        reported = ""
        while True:
            try:
                return act()
            except Conflict as error:
                if not self._wait or error.code not in _WAITS:
                    raise
                code = error.code
                detail = error.detail
                pause = min(_PAUSE, float(error.extra.get("retry_after", _PAUSE)))
            if code != reported:
                click.echo(f"waiting: {detail}", err=True)
            reported = code
            time.sleep(pause)

    def _tell(self, step: str, what: dict[str, object], text: str) -> None:
        self.steps.append({"step": step} | what)
        click.echo(f"{step}: {text}", err=True)
