"""Makes the modules of superset/ importable; those that need Superset itself are tested in its own environment."""

import sys
from pathlib import Path

SUPERSET = Path(__file__).resolve().parents[3] / "superset"
for folder in (SUPERSET, SUPERSET / "config"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
