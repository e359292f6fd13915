"""An answer on its way out: one sentence before it is shown, or the whole text at the end."""

from collections.abc import Collection, Sequence

from course_guard.library import make_rule
from course_guard.policy import Policy
from course_guard.question import Screen, Screening
from course_guard.verdict import Action


class AnswerScreen(Screen):
    """Looks at what was written, by rules of its own. It works on finished sentences, since a stream cannot be taken back."""

    def screen(self, text: str, sources: int | None = None, allowed_urls: Collection[str] = ()) -> Screening:
        """What of a text may be shown.

        Args:
            text: a sentence, or the whole answer, in which a rule may see what goes over several sentences.
            sources: how many sources it may cite; None if it is not known yet.
            allowed_urls: where its links may point, such as the addresses in its sources.
        """
        about = {"allowed_urls": allowed_urls}
        return self._screen(text, about if sources is None else {**about, "sources": sources})


def answer_screen(policy: Policy, secret_texts: Sequence[str]) -> AnswerScreen:
    """The screen with all rules for answers that the policy does not switch off.

    Args:
        policy: the one in force.
        secret_texts: what must not be recited, such as the system prompt.
    """
    names = [name for name, table in policy.rules().items() if name.startswith("output.") and table.action is not Action.OFF]
    arguments = {"output.leak": {"secret_texts": secret_texts}}
    return AnswerScreen([make_rule(name, **arguments.get(name, {})) for name in names], policy)
