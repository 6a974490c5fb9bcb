"""The campaign of security: one line a goal. ``python -m benchmarks.security`` runs it."""
