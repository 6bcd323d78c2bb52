"""The generated worlds are what they say, so that figures can be had again."""

from benchmarks.login_context import challenged, run, table
from benchmarks.login_worlds import STRENGTHS, World


def test_a_seed_gives_the_same_world_and_attackers_never_hold_the_token():
    """Two worlds of one seed are alike, of another not; some honest logins lack the token."""
    one, again, other = (World(seed, 20).events(1, 0.3) for seed in (3, 3, 4))
    assert one == again != other
    assert {event.kind for event in one} == {"honest", *STRENGTHS}
    assert not any(event.token for event in one if event.kind != "honest")
    honest = [event.token for event in one if event.kind == "honest"]
    assert 0.5 < sum(honest) / len(honest) < 1.0
    assert one == sorted(one, key=lambda event: event.at)


def test_every_method_is_measured_on_the_same_logins():
    """Each has one score for each login, and a share challenged that rises with what is caught."""
    scores, _, about = run(World(3, 40), 1)
    sizes = {
        tuple(len(found[kind]) for kind in ("honest", *STRENGTHS)) for found in scores.values()
    }
    assert len(sizes) == 1
    assert about["honest_measured"] == next(iter(sizes))[0]
    assert set(table(scores)) == set(scores)
    for found in scores.values():
        some, more = challenged(found["honest"], found["vpn"], [0.5, 0.9])
        assert 0 <= some <= more <= 1
