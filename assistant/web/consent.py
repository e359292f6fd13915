"""The reader's own choice whether this conversation may become training rows; the setting is only where the switch starts."""

import asyncio
from typing import Any

import chainlit as cl
from chainlit.input_widget import Switch

from assistant.history import History

_KEY = "consent"


def consent_switch(default: bool) -> Switch:
    """The switch of the settings panel; what it shows holds from now on."""
    cl.user_session.set(_KEY, default)
    label = "Lectern may learn from my questions and answers (on this machine; what you delete is forgotten)"
    return Switch(id=_KEY, label=label, initial=default)


def has_consented() -> bool:
    """What the switch of this reader says; no before there is one."""
    return bool(cl.user_session.get(_KEY))


async def apply_consent(values: dict[str, Any], history: History, conversation: str) -> None:
    """Take the switch from the panel. Whoever switches it off takes it back for the whole conversation."""
    before, now = has_consented(), bool(values.get(_KEY))
    cl.user_session.set(_KEY, now)
    if before and not now:
        await asyncio.to_thread(history.withdraw, conversation)
