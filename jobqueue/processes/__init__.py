"""Wiring of processes: what a supervisor, a worker process and a worker here are made of."""
