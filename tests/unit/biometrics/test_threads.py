"""Linear algebra stays in its caller's thread, or a busy server spends its cores on waiting."""

import os
import subprocess
import sys

import pytest

from tests.depth import DEEP

COUNTED = """
import os
import {module}
import numpy
square = numpy.ones((600, 600))
square @ square
print(len(os.listdir("/proc/self/task")))
"""


def threads(module, **more):
    """Return how many threads a process has after a product of matrices."""
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")
    }
    done = subprocess.run(
        [sys.executable, "-c", COUNTED.format(module=module)],
        env=environment | more,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux does")
@pytest.mark.parametrize(
    "module", ["biometrics.behavior.scorer", *(["service.app.container"] if DEEP else [])]
)
def test_linear_algebra_has_one_thread_unless_told_otherwise(module):
    """Whatever is imported first, numpy's own pool is of one; an operator may want more."""
    usual = threads(module)
    assert usual == threads(module, OPENBLAS_NUM_THREADS="1")
    if (os.cpu_count() or 1) > 1:
        assert threads(module, OPENBLAS_NUM_THREADS="2") > usual
