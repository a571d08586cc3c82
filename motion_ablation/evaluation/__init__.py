"""Scoring videos, whoever asks."""
