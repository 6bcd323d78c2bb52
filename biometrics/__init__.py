"""Face and behavior biometrics as calibrated evidence, without any web, database or key code."""

import os

# The matrices of a score are small: the threads of OpenBLAS spin waiting for each other and
# cost ten times the work. OpenBLAS reads this variable once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251 - OpenBLAS takes no other way
