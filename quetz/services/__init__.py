"""The rules, and the order of effects. Services flush and never commit."""
