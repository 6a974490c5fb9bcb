"""Build a recipe and upload packages with py-rattler-build.

Reads a request from standard input and writes the paths of built packages to standard output:
``{"build": {"recipe": text, "channels": [url], "sharded": true, "output": path}}`` gives
``[path, ...]``;
``{"upload": {"package_files": [path], "url": url, "channels": name, "api_key": key}}`` gives
``[]``; without ``api_key`` the key is read from RATTLER_AUTH_FILE.
"""

import json
import os
import sys
from typing import Any

from rattler_build import Stage0Recipe, ToolConfiguration
from rattler_build.upload import upload_package_to_quetz


def run(request: dict[str, Any]) -> list[str]:
    if "upload" in request:
        upload_package_to_quetz(**request["upload"])
        return []
    build = request["build"]
    recipe = Stage0Recipe.from_yaml(build["recipe"])
    results = recipe.run_build(
        tool_config=ToolConfiguration(use_sharded=build["sharded"]),
        channels=build["channels"],
        output_dir=build["output"],
    )
    return [str(package) for result in results for package in result.packages]


def main() -> None:
    code = 1
    try:
        json.dump(run(json.load(sys.stdin)), sys.stdout)
        code = 0
    except Exception as error:  # noqa: BLE001  whatever it was, the caller shall read it
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as in with_rattler


if __name__ == "__main__":
    main()
