"""For the tests of applications, and of adapters."""

import pytest

pytest.register_assert_rewrite("jobqueue.testing.contract")

from jobqueue.testing.contract import AdapterContract  # noqa: E402 - the rewrite comes first

__all__ = ["AdapterContract"]
