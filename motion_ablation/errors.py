"""Errors that several rooms raise."""

from __future__ import annotations


class MissingWeights(FileNotFoundError):
    """Weights that are not on this machine; the message says in one line what to fetch and where to put it."""
