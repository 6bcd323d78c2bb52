"""The stored state of one behavioral signal: profile, replay marks and alarm.

Layout, little endian, version 1: `u8` version · `u8` flags (1: the profile has parted from its
anchor) · `u8` strays · `u8` columns of a mark, c · `u16` marks, m · m rows of c `u8`, the oldest
first · the packed profile (`biometrics.behavior.profile`), at most 6 KB.
"""

import struct
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from biometrics.behavior.features import Vector
from biometrics.behavior.layout import Layout
from biometrics.behavior.profile import Profile
from biometrics.behavior.replay import COLUMNS, MOST_MARKS, Marks, remember, replayed
from biometrics.behavior.scorer import FEWEST

VERSION: Final = 1
PARTED: Final = 2.5
"""Drift of the latest samples from the anchor, in spreads, from which the profile loses trust.

Of 60 generated people over 200 samples and 34 of the CMU set over 400, none exceeded 2.1.
"""
STRAYS: Final = 3
"""Consecutive samples of another length after which the text counts as changed."""
_HEAD: Final = struct.Struct("<BBBBH")
_PARTED: Final = 1


class BadKept(ValueError):
    """The bytes are not a valid stored state."""


@dataclass(frozen=True)
class Kept:
    """The stored state of one signal of one person.

    Args:
        profile: The latest samples and the anchor.
        marks: Marks that detect a repeated sample, (m, c).
        parted: Whether the drift alarm was raised; only a reset clears it.
        strays: Number of consecutive samples of another length.
    """

    profile: Profile
    marks: Marks
    parted: bool = False
    strays: int = 0

    @classmethod
    def empty(cls, layout: Layout) -> "Kept":
        """Return the state without any sample."""
        return cls(Profile.empty(layout), np.zeros((0, 0), np.uint8))

    @property
    def speaks(self) -> bool:
        """Whether there are enough samples for a score."""
        return self.profile.total >= FEWEST

    def has(self, vector: Vector) -> bool:
        """Return whether a sample repeats one, to a millisecond or, if typed, with little noise."""
        return replayed(self.marks, vector.marked, typed=vector.layout.timed)

    def learn(self, vector: Vector) -> "Kept":
        """Return the state with one more sample; one of another length is only counted at first."""
        if vector.layout != self.profile.layout:
            if self.speaks and self.strays + 1 < STRAYS:
                return replace(self, strays=self.strays + 1)
            return replace(Kept.empty(vector.layout), parted=self.parted).learn(vector)
        profile = self.profile.absorb(vector.row[None])
        return Kept(
            profile,
            remember(self.marks, vector.marked),
            parted=self.parted or _parts(profile),
        )

    def pack(self) -> bytes:
        """Encode the state as bytes."""
        count, columns = self.marks.shape
        head = _HEAD.pack(VERSION, _PARTED * self.parted, self.strays, columns, count)
        return head + self.marks.tobytes() + self.profile.pack()

    @classmethod
    def unpack(cls, packed: bytes) -> "Kept":
        """Decode a state; raises BadKept, or BadProfile for the profile inside."""
        if len(packed) < _HEAD.size:
            raise BadKept("too short")
        version, flags, strays, columns, count = _HEAD.unpack_from(packed)
        if version != VERSION or columns > COLUMNS or count > MOST_MARKS:
            raise BadKept("unknown version or too many marks")
        end = _HEAD.size + count * columns
        if len(packed) < end:
            raise BadKept("its length differs from the stated one")
        marks = np.frombuffer(packed, np.uint8, count * columns, _HEAD.size)
        return cls(
            Profile.unpack(packed[end:]),
            marks.reshape(count, columns),
            parted=bool(flags & _PARTED),
            strays=strays,
        )


def _parts(profile: Profile) -> bool:
    """Return whether a typing profile has drifted; a grip may, as people sit and walk."""
    return profile.layout.timed and profile.parted() > PARTED
