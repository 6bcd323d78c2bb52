"""A foreign key has its type at once, whichever table is imported first."""

import subprocess
import sys

POLICY_ALONE = """
from sqlalchemy import Uuid, bindparam
from service.policy.store import SubjectRisk
owner = SubjectRisk.__table__.c.subject_id
assert "subject" not in SubjectRisk.metadata.tables
bound = (owner == bindparam("subject")).right
assert isinstance(bound.type, Uuid), bound.type
"""
UNKNOWN = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column
from service.store.base import Base
class Leaf(Base):
    __tablename__ = "leaf"
    name: Mapped[str] = mapped_column(ForeignKey("tree.name"), primary_key=True)
"""


def run(code):
    """Run code in a process that has imported nothing else."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_statement_prepared_before_the_other_table_is_known_binds_ids():
    """Decisions are stored by a module that is imported before that of the subjects."""
    done = run(POLICY_ALONE)
    assert done.returncode == 0, done.stderr


def test_a_foreign_key_that_is_no_id_names_its_type():
    """A type that cannot be known yet is an error, and no silent guess."""
    done = run(UNKNOWN)
    assert "leaf.name: name the type of the foreign key" in done.stderr
