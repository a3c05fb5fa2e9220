"""The REST API: read, enqueue and steer jobs over HTTP."""
