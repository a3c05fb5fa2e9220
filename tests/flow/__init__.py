"""Tests of flow control through the public API, on every adapter."""
