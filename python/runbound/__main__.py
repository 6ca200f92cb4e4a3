"""`python -m runbound`: the same program as `runbound`, for a machine where the entry script is not on the path.

Owns that one call; must never do anything of its own.
"""

import sys

from runbound.cli import main

if __name__ == "__main__":
    sys.exit(main())
