"""The part that performs a claimed job and makes an outcome of it, which the worker stores."""
