"""The proxy in front of the server: what tells of it, and files that nginx sends by itself."""

import base64
import hashlib
import time
from pathlib import Path

from starlette.types import Scope

from quetz.deployment import STORE_FOLDER, Deployment
from quetz.web.representations import ACCEPT_RANGES, Headers, Representation

FORWARDED_BY = "quetz.forwarded_by"
"""Where a scope holds the address of the trusted proxy that told who the client is, if one did."""

_NOT_KEPT = (b"cache-control", b"private, no-store")


class Redirects:
    """Says where nginx finds a file of the store, in place of the file's bytes.

    Only a request that nginx has passed on is answered so: to another client it says nothing.
    """

    def __init__(self, deployment: Deployment) -> None:
        settings = deployment.settings.local_store
        self._enabled = settings.redirect_enabled
        self._endpoint = settings.redirect_endpoint.rstrip("/")
        self._secret = settings.redirect_secret.get_secret_value()
        self._seconds = settings.redirect_expiration
        self._store = f"{(deployment.path / STORE_FOLDER).resolve()}/"

    def find(self, representation: Representation, scope: Scope) -> tuple[int, Headers] | None:
        """Return status and headers of the answer; None if the bytes have to be sent from here."""
        if not self._enabled or scope["method"] != "GET" or FORWARDED_BY not in scope:
            return None
        body = representation.body
        # nginx does not pass Content-Encoding on, and would pass Accept-Ranges on beside its own.
        if not isinstance(body, Path) or representation.packed or representation.encoding:
            return None
        path = f"{self._endpoint}/{str(body).removeprefix(self._store)}"
        if not self._secret:
            headers = [field for field in representation.headers if field != ACCEPT_RANGES]
            return 200, (*headers, (b"x-accel-redirect", path.encode()))
        if representation.private:
            return None  # a link would be good for whoever comes by it
        if representation.file_id is None:
            return None  # mamba takes an index for packed only where its last URL ends in .zst
        return 307, ((b"location", self._signed(path).encode()), _NOT_KEPT)

    def _signed(self, path: str) -> str:
        """Return a link that nginx's ``secure_link_md5`` accepts for some time."""
        expires = int(time.time()) + self._seconds
        text = f"{expires}{path} {self._secret}".encode()
        digest = hashlib.md5(text, usedforsecurity=False).digest()  # nginx knows no other
        md5 = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return f"{path}?md5={md5}&expires={expires}"
