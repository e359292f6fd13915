"""What can go wrong at a server of models, as problem and remedy."""

from typing import TYPE_CHECKING

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from openai import APIStatusError

_LONGEST = 200  # characters of what the server says


def as_course_error(error: Exception, url: str, model: str, key: str) -> CourseError:
    """Say what happened and what to do.

    Args:
        error: from the openai client or from httpx below it.
        url: of the server.
        model: that was asked.
        key: kept out of the text, since servers like to repeat it.
    """
    problem, remedy = _told(error, url, model)
    return CourseError(problem.replace(key, "***") if key else problem, remedy)


def _told(error: Exception, url: str, model: str) -> tuple[str, str]:
    import httpx
    import openai

    if isinstance(error, openai.APIStatusError):
        return _replied(error, url, model)
    if isinstance(error, openai.APITimeoutError | httpx.TimeoutException):
        return f"{url} has said nothing for too long.", "See whether the server is busy, or still loading the model; ask again."
    if isinstance(error, openai.APIConnectionError):
        return f"{url} does not answer: {_cause(error)}.", "Start the server, or correct model.name (openai:URL#MODEL)."
    if isinstance(error, openai.APIError):  # told in the middle of a stream
        return f"{url} gave up: {_short(str(error))}", "Ask again; the server's own log says more."
    if isinstance(error, httpx.HTTPError):
        return f"The answer of {url} broke off: {_short(str(error))}", "Ask again; see whether the server is still running."
    return (
        f"{url} does not speak the interface of OpenAI's chat completions: {_short(str(error))}",
        "Give its base URL, which usually ends in /v1.",
    )


def _replied(error: "APIStatusError", url: str, model: str) -> tuple[str, str]:
    status, said = error.status_code, _short(error.message)
    if status in (401, 403):
        return f"{url} refuses the key ({status}): {said}", "Put the right one into the environment variable LECTERN_MODEL_KEY."
    if status == 404:
        remedy = "Give the server's base URL, which usually ends in /v1, and a model that it has: its /models lists them."
        return f"{url} does not know the model {model}, or the address is wrong (404): {said}", remedy
    if status == 429:
        return f"{url} has too much to do, or your quota is used up (429): {said}", "Wait a little and ask again."
    if status in (400, 413, 422):
        return f"{url} refuses the prompt ({status}): {said}", "If it is too long: start the server with a longer context."
    return f"{url} replied {status}: {said}", "Ask again; the server's own log says more."


def _cause(error: Exception) -> str:
    return _short(str(error.__cause__ or error)).rstrip(".")


def _short(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
