"""./check_all_works.sh: what is asked of each service, and what a person is told."""
