"""Kill a server under load thirty-two times, and check after each crash what it kept."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from quetz.testing.crashes import Driver, create_deployment

PLAN = (
    ["upload.stored"] * 6
    + ["upload.recording"] * 3
    + ["upload.recorded"] * 3
    + ["publish.built"] * 4
    + ["publish.flipping"] * 4
    + ["publish.flipped"] * 3
    + [None] * 9
)
MEANING = {
    "upload.stored": "between object and commit",
    "upload.recording": "inside the upload's transaction",
    "upload.recorded": "between commit and answer",
    "publish.built": "while publishing, files written and not named",
    "publish.flipping": "while publishing, inside the flip's transaction",
    "publish.flipped": "while publishing, after the flip",
    None: "from outside, uploads in flight",
}


def main() -> int:
    landed: Counter[str | None] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        deployment = Path(folder) / "deployment"
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        driver = Driver(deployment, create_deployment(deployment), scratch)
        driver.create_channel()
        for number, point in enumerate(PLAN, 1):
            if driver.crash(point) or point is None:
                landed[point] += 1
            driver.check()
            print(f"{number:2}/{len(PLAN)} kills, {len(driver.history.sent)} uploads", flush=True)
    for point, meaning in MEANING.items():
        print(f"{landed[point]:3} kills {meaning}")
    print(f"{landed.total()} kills, {len(driver.history.sent)} uploads: none lost, none broken")
    return 0 if landed.total() == len(PLAN) else 1


if __name__ == "__main__":
    sys.exit(main())
