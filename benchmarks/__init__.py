"""Measurements of quetz: ``python -m benchmarks``; README.md has the figures and what they mean."""
