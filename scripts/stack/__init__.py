"""The service manager of the native way: one table of services, one supervisor, and the verbs that drive them."""
