"""The campaign of the migrations: one line a goal. ``python -m benchmarks.migrations`` runs it."""
