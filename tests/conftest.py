"""Puts tests/ and the checkout on the path, wherever pytest is started from."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]
