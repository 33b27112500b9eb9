"""The service manager: one table of services, one supervisor, and the verbs that drive them."""
