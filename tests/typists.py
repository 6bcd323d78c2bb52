"""Typed samples of people that do not exist, in the wire format."""

import numpy as np

from biometrics.behavior import generator, holders

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
    people = generator.people(count, keys, samples=samples + 40, session=20, seed=seed)
    return [rows[40:] for rows in people]


def contacts(row, seed=0, keys=KEYS):
    """Return the touches of a sample, in CSS pixels."""
    touched = generator.touches(row[None], keys, seed)[0][2 * keys - 1 :]
    return [
        [at, round(float(touched[at]), 4), *[round(float(100 * touched[keys + at]), 3)] * 2, 0, 0]
        for at in range(keys)
    ]


def holding(count, samples=40, seed=31, posture="sitting"):
    """Return what the sensors of made-up people give in one posture, in the wire format."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        person = holders.holder(random, holders.Holding())
        given = [
            one for _ in range(-(-samples // 10)) for one in person.session(random, posture, 10)
        ]
        found.append([moving(one) for one in given[:samples]])
    return found


def moving(series):
    """Return a series in the wire format."""
    acc, rot = (np.round(part, 3).tolist() for part in (series.acc, series.rot))
    return {"hz": series.hz, "from": 0, "acc": acc, "rot": rot}
