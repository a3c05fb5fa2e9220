"""Jobs in this process's memory: for tests, and for jobs that may be lost when it ends."""
