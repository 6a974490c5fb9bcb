"""Refuses the names that `quetz plugin new` refuses."""

import re
import sys

DISTRIBUTION = "{{ cookiecutter.__distribution }}"

if not re.fullmatch("quetz(-[a-z0-9]+)+", DISTRIBUTION):
    sys.exit(f"plugin name '{DISTRIBUTION}' is not allowed: use a-z, 0-9 and single dashes")
