"""Clients of a server that is killed all the time: each works on files of its own."""

import http.client
import random
import threading

from quetz.conda.filenames import PackageFilename
from quetz.testing.crashes import CHANNEL, Driver
from quetz.testing.crashes.clients import deleting, uploading, uploading_form
from quetz.testing.crashes.histories import Change, Place, Refused, Request, hash_of

REST_SECONDS = 0.001
UNANSWERED_SECONDS = 0.02
FORM_FILES = 10


class Client:
    """Uploads, replaces, deletes and reads; asks again until it is answered.

    Who holds ``turn`` keeps it from asking.
    """

    def __init__(self, driver: Driver, number: int, seed: int) -> None:
        self.turn = threading.Lock()
        self.uploads = 0
        """Files that were sent, without those that were sent again: alone, or in ``forms``."""
        self.forms = 0
        self.faults: list[str] = []
        self._driver = driver
        self._random = random.Random(f"{seed} {number}")
        self._files: list[Place] = []
        self._open: Change | None = None

    def forget_open(self) -> None:
        """Note that a check has asked again in the place of this client."""
        self._open = None

    def run(self, ending: threading.Event) -> None:
        while not ending.wait(REST_SECONDS):
            with self.turn:
                try:
                    self._act()
                except Refused as refused:
                    self.faults.append(str(refused))
                except (OSError, http.client.HTTPException):
                    pass  # a read that was cut off
            if self._open is not None:
                ending.wait(UNANSWERED_SECONDS)

    def _act(self) -> None:
        if self._open is not None:
            self._ask_again(self._open)
            return
        if not self._files:
            self._upload()
            return
        acts = [self._upload, self._upload_form, self._replace, self._delete, self._read]
        [act] = self._random.choices(acts, weights=[50, 30, 6, 6, 8])
        act()

    def _ask(self, change: Change) -> None:
        if not self._driver.attempt(change):
            self._open = change

    def _ask_again(self, change: Change) -> None:
        assert change.request is not None
        status, _ = self._driver.request(change.request)
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            return
        self._open = None
        self._driver.history.settle(change)
        if status not in change.again:
            raise Refused(f"{change.request.path} was asked again and answered {status}")

    def _upload(self) -> None:
        self._ask(uploading(CHANNEL, *self._new_file()))

    def _upload_form(self) -> None:
        self.forms += 1
        self._ask(uploading_form(CHANNEL, [self._new_file() for _ in range(FORM_FILES)]))

    def _new_file(self) -> tuple[str, bytes]:
        filename, data = self._driver.new_file(self._random.choice([100, 1_000, 20_000]))
        self._files.append(Place(CHANNEL, "noarch", filename))
        self.uploads += 1
        return filename, data

    def _replace(self) -> None:
        place = self._random.choice(self._files)
        _, data = self._driver.build(PackageFilename.parse(place.filename).name)
        self.uploads += 1
        self._ask(uploading(CHANNEL, place.filename, data, force=True))

    def _delete(self) -> None:
        place = self._files.pop(self._random.randrange(len(self._files)))
        self._ask(deleting(CHANNEL, place.filename))

    def _read(self) -> None:
        place = self._random.choice(self._files)
        status, body = self._driver.request(Request("GET", f"/get/{'/'.join(place)}"))
        state = self._driver.history.settled.get(place)
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            return
        found = hash_of(body) if status == http.HTTPStatus.OK else None
        if state is None or found != state.sha256:
            self.faults.append(f"{place.filename} was read as {status} {found}, not {state}")
