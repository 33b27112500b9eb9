"""./check_all_works.sh: probes each service and prints a line for each."""
