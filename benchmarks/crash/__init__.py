"""The campaign of crashes: one line a goal. ``python -m benchmarks.crash`` runs it."""
