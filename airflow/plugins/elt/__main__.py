"""Entry point of `python -m elt`."""

import sys

from elt.cli.main import main

# Airflow imports every file of its plugins folder under the name of the file, this one as `__main__`: only as part of
# the package is it meant.
if __name__ == "__main__" and __package__ == "elt":
    sys.exit(main(sys.argv[1:]))
