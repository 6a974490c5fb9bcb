"""Pure conda formats: no SQL, no store, no HTTP."""
