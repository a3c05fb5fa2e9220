"""The roles that an adapter consists of, each a Protocol in a file of its own."""
