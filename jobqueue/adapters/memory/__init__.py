"""Jobs in this process's memory: for tests, and for what may be lost when it ends."""
