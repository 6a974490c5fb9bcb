"""HTTP: the only floor that knows of it."""
