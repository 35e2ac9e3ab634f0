"""python -m gancli: the same as the console script."""

import sys

from gancli.cli import main

if __name__ == "__main__":
    sys.exit(main())
