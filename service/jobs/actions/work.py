"""What a long-running job does, page by page, and at which rate."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from service.store.engine import Tx


@dataclass(frozen=True, slots=True)
class JobStep:
    """The result of a page: the number of rows, and entries about those that failed."""

    rows: int
    bad: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """The implementation of a kind of job.

    Args:
        total: Counts the rows to process.
        steps: Processes them; each step is a committed transaction.
        finish: Returns additions to the final report.
        prepare: Returns additions to the parameters, once, before the first step of the first
            process.
    """

    total: Callable[[], int]
    steps: Callable[[], Iterator[JobStep]]
    finish: Callable[[], Mapping[str, object]] = dict
    prepare: Callable[[Tx], Mapping[str, object]] = lambda _tx: {}


@dataclass(frozen=True, slots=True)
class JobRate:
    """The rate limits of a job.

    Args:
        max_rate: Rows per second, 0 for unlimited.
        max_latency: Milliseconds of a page above which the job pauses for as long.
    """

    max_rate: float = 0.0
    max_latency: float = 0.0


@dataclass(kw_only=True, slots=True)
class Progress:
    """The progress of a job."""

    total: int
    done: int = 0
    failed: int = 0
    bad: list[Mapping[str, object]] = field(default_factory=list)
    stopped: bool = False

    @property
    def status(self) -> str:
        """Return the final status, if the job ended now."""
        if self.stopped:
            return "stopped"
        return "partial" if self.failed else "done"


Plan = Callable[[Mapping[str, object]], Work]
Watch = Callable[[Progress], None]


def pause(rate: JobRate, *, rows: int, elapsed: float, page: float) -> float:
    """Return the seconds to wait after a page.

    Args:
        rate: The rate limits.
        rows: Rows done so far.
        elapsed: Seconds since the start.
        page: Seconds that the page took.
    """
    wait = 0.0
    if rate.max_rate:
        wait = max(wait, rows / rate.max_rate - elapsed)
    if rate.max_latency and page * 1000 > rate.max_latency:
        wait = max(wait, page)
    return wait
