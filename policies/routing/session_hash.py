"""By a hash of the session."""

from __future__ import annotations

from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.ring import hashed, owner_key


@register("session-hash", family="routing")
class SessionHash:
    """Sends all turns of a session to one instance: the hash of the session, modulo the instances.

    With another number of instances nearly all sessions move, which `consistent-hash` avoids. Where sessions are not
    known each request is one of its own.
    """

    def route(self, request: Asked, view: View) -> int:
        return hashed(owner_key(request)) % len(view.instances)
