"""Entry point of `python -m elt`."""

import sys

from elt.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
