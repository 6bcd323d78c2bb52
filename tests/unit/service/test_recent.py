"""What is kept for a moment: how long, and what drops it."""

from service.store.recent import Changes, Recent


class Ticking:
    """Seconds that a test moves."""

    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


def test_a_value_counts_from_the_start_of_its_read():
    """However long the read took, the value is as old as its beginning."""
    now = Ticking()
    kept = Recent(1.0, now)
    mark = kept.mark()
    now.at += 0.75
    kept.put("a", 1, mark)
    assert kept.get("a") == 1
    now.at += 0.25
    assert kept.get("a") is None


def test_zero_keeps_nothing():
    """A service that is set so reads each time."""
    kept = Recent(0, Ticking())
    kept.put("a", 1, kept.mark())
    assert kept.get("a") is None


def test_what_was_read_before_a_drop_is_not_kept_after_it():
    """The slow reader of an old row does not bring it back."""
    kept = Recent(1.0, Ticking())
    slow = kept.mark()
    kept.put("b", 2, kept.mark())
    kept.drop()
    kept.put("a", 1, slow)
    assert (kept.get("a"), kept.get("b")) == (None, None)
    kept.put("a", 3, kept.mark())
    assert kept.get("a") == 3


def test_no_more_is_kept_than_fits():
    """It is emptied then, and begins again."""
    kept = Recent(1.0, Ticking())
    for number in range(4097):
        kept.put(number, number, kept.mark())
    assert kept.get(0) is None
    assert kept.get(4096) == 4096


def test_only_a_change_of_its_tables_is_heard_and_announced():
    """Others neither drop anything here nor tell another process."""
    done = []
    changes = Changes(frozenset({"client"}))
    changes.follow(lambda: done.append("dropped"))
    changes.committed({"lamina_touched_tables": {"client"}})
    changes.announce_by(lambda: done.append("announced"))
    changes.committed({"lamina_touched_tables": {"session"}})
    changes.committed({})
    assert done == ["dropped"]
    changes.committed({"lamina_touched_tables": {"session", "client"}})
    assert done == ["dropped", "dropped", "announced"]
