"""Thumbs and comments: Chainlit's data layer, reduced to feedback on turns."""

import asyncio
import logging

from chainlit.data.base import BaseDataLayer
from chainlit.element import Element, ElementDict
from chainlit.step import StepDict
from chainlit.types import Feedback, PageInfo, PaginatedResponse, Pagination, ThreadDict, ThreadFilter
from chainlit.user import PersistedUser, User

from assistant.web.ready import opened
from knowledge.errors import CourseError

_log = logging.getLogger(__name__)


class FeedbackLayer(BaseDataLayer):
    """Writes a thumb to the history of the turn that it judges; conversations themselves are not kept by Chainlit.

    Chainlit hangs a thumb on the run (its step around one message), whose id exists before the turn's does.
    """

    def __init__(self) -> None:
        self._turn_of_run: dict[str, str] = {}

    def link(self, run_id: str, turn_id: str) -> None:
        """Remember which turn a run was."""
        self._turn_of_run[run_id] = turn_id

    async def upsert_feedback(self, feedback: Feedback) -> str:
        """Store a thumb (1 up, 0 down) and its comment; the turn's id serves as the feedback's id."""
        try:
            turn_id = self._turn_of_run.get(feedback.forId)
            if turn_id is None:
                raise CourseError("This answer is from before Lectern was started.", "Ask again to judge it.")
            history = (await opened()).history
            await asyncio.to_thread(history.rate, turn_id, int(feedback.value), feedback.comment)
            return turn_id
        except Exception:  # Chainlit turns it into a bare 500
            _log.exception("feedback was not stored")
            raise

    async def delete_feedback(self, feedback_id: str) -> bool:
        """Take a thumb back."""
        try:
            history = (await opened()).history
            await asyncio.to_thread(history.unrate, feedback_id)
            return True
        except Exception:
            _log.exception("feedback was not removed")
            raise

    # What follows is the interface's rest, faithfully empty: nothing is kept, so there is nothing to find.

    async def get_user(self, identifier: str) -> PersistedUser | None:
        """No users."""
        return None

    async def create_user(self, user: User) -> PersistedUser | None:
        """No users."""
        return None

    async def create_element(self, element: Element) -> None:
        """Not kept."""

    async def get_element(self, thread_id: str, element_id: str) -> ElementDict | None:
        """Not kept."""
        return None

    async def delete_element(self, element_id: str, thread_id: str | None = None) -> None:
        """Not kept."""

    async def create_step(self, step_dict: StepDict) -> None:
        """Not kept."""

    async def update_step(self, step_dict: StepDict) -> None:
        """Not kept."""

    async def delete_step(self, step_id: str) -> None:
        """Not kept."""

    async def get_favorite_steps(self, user_id: str) -> list[StepDict]:
        """Not kept."""
        return []

    async def get_thread_author(self, thread_id: str) -> str:
        """No users."""
        return ""

    async def delete_thread(self, thread_id: str) -> None:
        """Not kept."""

    async def list_threads(self, pagination: Pagination, filters: ThreadFilter) -> PaginatedResponse[ThreadDict]:
        """Not kept."""
        return PaginatedResponse(pageInfo=PageInfo(hasNextPage=False, startCursor=None, endCursor=None), data=[])

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        """Not kept."""
        return None

    async def update_thread(
        self,
        thread_id: str,
        name: str | None = None,
        user_id: str | None = None,
        metadata: dict | None = None,
        tags: list[str] | None = None,
    ) -> None:
        """Not kept."""

    async def build_debug_url(self) -> str:
        """No debugger."""
        return ""

    async def close(self) -> None:
        """Nothing is open."""
