"""The campaign on scale: ``python -m benchmarks.scale``; benchmarks/README.md has its figures."""
