"""Fixtures of every test: see harness/fixtures.py."""

from harness.fixtures import *  # noqa: F401,F403
