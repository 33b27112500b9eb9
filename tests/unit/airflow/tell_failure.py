"""Run by Airflow's python: the callback of a task that failed with the error of the argument."""

import logging
import sys
from types import SimpleNamespace

from elt_airflow.failure import notify_failure

logging.basicConfig(stream=sys.stdout)
ti = SimpleNamespace(dag_id="elt_pipeline", run_id="manual__1", task_id="load_orders", try_number=3)
notify_failure({"ti": ti, "exception": ValueError(sys.argv[1])})
