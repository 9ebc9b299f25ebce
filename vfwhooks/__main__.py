"""`python3 -m vfwhooks`."""

import sys

from .cli import main

sys.exit(main())
