"""Results of the checks of `lamina doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check.

    Args:
        check: Its name.
        state: What was found.
        mend: The remedy; empty if none is needed.
        ok: Whether the state is in order; None if it cannot be checked from here.
    """

    check: str
    state: str
    mend: str = ""
    ok: bool | None = True

    def to_json(self) -> dict[str, str | bool | None]:
        """Return the JSON form."""
        return {"check": self.check, "ok": self.ok, "told": self.state, "mend": self.mend or None}


def wrong(check: str, state: str, mend: str) -> CheckResult:
    """Return a problem with its remedy."""
    return CheckResult(check, state, mend, ok=False)


def unknown(check: str, why: str, mend: str = "") -> CheckResult:
    """Return that something cannot be checked from here, and why."""
    return CheckResult(check, f"not checked: {why}", mend, ok=None)
