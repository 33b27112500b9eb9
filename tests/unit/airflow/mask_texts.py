"""Run by Airflow's python: prints the texts of its argument, a JSON list, as a task of Airflow would log them."""

import json
import sys

from airflow.sdk.log import redact
from elt_airflow.guard import no_retry_on_terminal_errors

with no_retry_on_terminal_errors():
    print(json.dumps([redact(text) for text in json.loads(sys.argv[1])]))
