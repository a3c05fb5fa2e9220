"""Performing a claimed job: it becomes an outcome, which somebody else stores."""
