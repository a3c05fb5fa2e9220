"""What the small runs share."""

from __future__ import annotations

import secrets

import pytest


@pytest.fixture
def seed() -> str:
    """Printed when a test fails."""
    made = secrets.token_hex(4)
    print(f"seed {made}")
    return made
