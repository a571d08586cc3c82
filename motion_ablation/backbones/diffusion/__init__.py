"""Noise schedules, one per file: how latents become noise in training, and how noise becomes latents again."""
