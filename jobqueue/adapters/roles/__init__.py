"""The roles that an adapter consists of: what each has to do."""
