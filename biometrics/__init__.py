"""Faces and behavior as calibrated evidence; knows no web, no database and no keys."""

import os

# The matrices of a score are small: threads of the linear algebra spin for each other and cost ten
# times the work. It reads this once, when numpy is loaded, so it is said before anything does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251 - OpenBLAS takes no other way
