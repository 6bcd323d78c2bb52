"""Typed samples of people that do not exist, in the wire format."""

import numpy as np

from biometrics.behavior.features import NotScored
from biometrics.behavior.pointer import pointer
from lab.behavior import synthetic_motion, synthetic_pointer, synthetic_typing

KEYS = 12


def wire(row, capture=None, keys=KEYS, **more):
    """Return a sample of stored columns in seconds: hold times, then press to press."""
    down = np.concatenate([[0.0], np.cumsum(row[keys : 2 * keys - 1])]) * 1000
    typed = [
        [round(at, 3), round(at + 1000 * held, 3), "char"]
        for at, held in zip(down.tolist(), row[:keys].tolist(), strict=True)
    ]
    named = {"capture_id": capture} if capture else {}
    return {"v": 1, **named, "keystroke": {"field": "password", "keys": typed}, **more}


def typists(count, samples=120, seed=21, keys=KEYS):
    """Return made-up people who all type one text, who are past its first learning."""
    people = synthetic_typing.people(count, keys, samples=samples + 40, session=20, seed=seed)
    return [rows[40:] for rows in people]


def contacts(row, seed=0, keys=KEYS):
    """Return the touches of a sample, in CSS pixels."""
    touched = synthetic_typing.touches(row[None], keys, seed)[0][2 * keys - 1 :]
    return [
        [at, round(float(touched[at]), 4), *[round(float(100 * touched[keys + at]), 3)] * 2, 0, 0]
        for at in range(keys)
    ]


def holding(count, samples=40, seed=31, posture="sitting"):
    """Return what the sensors of made-up people give in one posture, in the wire format."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        person = synthetic_motion.holder(random, synthetic_motion.Holding())
        given = [
            one for _ in range(-(-samples // 10)) for one in person.session(random, posture, 10)
        ]
        found.append([moving(one) for one in given[:samples]])
    return found


def moving(series):
    """Return a series in the wire format."""
    acc, rot = (np.round(part, 3).tolist() for part in (series.acc, series.rot))
    return {"hz": series.hz, "from": 0, "acc": acc, "rot": rot}


def pointing(count, samples=40, seed=41):
    """Return what pages saw of made-up people's pointers, in the wire format; all are scored."""
    found = []
    for person in synthetic_pointer.trails(count, samples=samples + 10, seed=seed):
        whole = [[list(event) for event in events] for events in person if _scored(events)]
        found.append(whole[:samples])
    return found


def _scored(events):
    try:
        pointer(events)
    except NotScored:
        return False
    return True


def grips(count, columns, *, samples=60, seed=0):
    """Return made-up people's rows of statistics, (samples, columns)."""
    random = np.random.default_rng(seed)
    mixed = random.normal(0, 1, (columns, columns)) * 0.3 + np.eye(columns)
    found = []
    for _ in range(count):
        center = random.normal(0, 1.0, columns)
        moved = np.repeat(random.normal(0, 0.5, (-(-samples // 10), columns)), 10, axis=0)
        noise = random.standard_t(4, (samples, columns)) * 0.7
        found.append((center + moved[:samples] + noise) @ mixed)
    return found
