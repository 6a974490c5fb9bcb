"""The audit log: one event for every change, in the transaction of the change."""

from sqlalchemy.orm import Session

from quetz.db.models import Channel, Event
from quetz.services.permissions import Principal

_RECORDED = "quetz.recorded"


def record_event(
    session: Session,
    principal: Principal,
    action: str,
    *,
    channel: Channel | None = None,
    subject: str | None = None,
    before: str | None = None,
    after: str | None = None,
) -> None:
    """Append who did what to which thing.

    ``subject`` names the thing inside the channel, such as ``linux-64/numpy-2.1.0-0.conda`` or
    a username; ``before`` and ``after`` are sha256 digests or roles.
    """
    session.info[_RECORDED] = True
    session.add(
        Event(
            actor_id=principal.user_id,
            actor=principal.username,
            api_key=principal.api_key,
            address=principal.address,
            action=action,
            channel=channel.name if channel else None,
            channel_id=channel.id if channel else None,
            subject=subject,
            before=before,
            after=after,
        )
    )


def has_recorded(session: Session) -> bool:
    """Say whether the transaction of ``session`` left events."""
    return _RECORDED in session.info
