"""The cookie that holds a login session."""

from starlette.responses import Response

from quetz.services.sessions import AGE_LIMIT
from quetz.settings import Settings


def cookie_name(settings: Settings) -> str:
    """Return the cookie's name.

    Browsers take the prefix ``__Host-`` (RFC 6265bis, "Cookie Name Prefixes") only over https:
    no neighbouring host name can set such a cookie.
    """
    return "__Host-session" if settings.session.https_only else "session"


def set_session_cookie(response: Response, settings: Settings, value: str) -> None:
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=AGE_LIMIT // 1000,
        path="/",
        secure=settings.session.https_only,
        httponly=True,
        samesite="lax",
    )


def drop_session_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings),
        path="/",
        secure=settings.session.https_only,
        httponly=True,
        samesite="lax",
    )
