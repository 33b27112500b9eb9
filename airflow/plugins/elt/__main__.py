"""Entry point of `python -m elt`."""

import sys

from elt.cli.main import main

# Airflow imports every file of its plugins folder under the file's name, this one as `__main__`. Run only as part of the
# package.
if __name__ == "__main__" and __package__ == "elt":
    sys.exit(main(sys.argv[1:]))
