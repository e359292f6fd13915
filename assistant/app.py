"""Chainlit handlers: what the page does when the reader acts. `lectern serve` imports it; see assistant/web/server.py."""
# mypy: disable-error-code="untyped-decorator"

import asyncio
from threading import Event
from typing import Any

import chainlit as cl
from chainlit.context import init_ws_context
from chainlit.data.base import BaseDataLayer
from chainlit.input_widget import InputWidget, Select, Slider
from chainlit.server import sio
from chainlit.session import WebsocketSession

from assistant.events import Done, Exchange, Refusal, Turn
from assistant.web import microphone, sources, upload
from assistant.web.consent import apply_consent, consent_switch, has_consented
from assistant.web.feedback import FeedbackLayer
from assistant.web.page import keep_offline
from assistant.web.ready import is_warm, opened, warmed
from assistant.web.show import LiveMessage, TurnMessage
from knowledge.errors import CourseError

_GRACE_S = 10  # a reader who loses the connection for less than this keeps the answer coming
_WORDS_PER_TOKEN = 0.75
_UNEXPECTED = "Something went wrong. This is a fault in Lectern.", "The terminal shows the details. Ask again to go on."

keep_offline()
_feedback = FeedbackLayer()


@cl.data_layer
def feedback_layer() -> BaseDataLayer:
    """Where thumbs go."""
    return _feedback


@cl.on_chat_start
async def greet() -> None:
    """Show the welcome at once and fill it when the course is open."""
    welcome = LiveMessage("Welcome", phase="loading")
    if not cl.context.session.thread_id_to_resume:  # set when a page with a conversation finds the server restarted
        await welcome.send()
        cl.user_session.set("welcome", welcome)
    cl.user_session.set("exchanges", {})
    cl.user_session.set("filling", asyncio.create_task(_fill(welcome)))  # kept, or it may be collected half-way


async def _fill(welcome: LiveMessage) -> None:
    try:
        runtime = await opened()
        starters, documents = await asyncio.to_thread(runtime.starters), await sources.documents(runtime)
        passages = sum(info["passages"] for info in documents)
        facts = {"starters": starters, "documents": len(documents), "passages": passages}
        models = await asyncio.to_thread(runtime.models)
    except CourseError as error:
        await welcome.change(phase="failed", problem=error.problem, remedy=error.remedy, streaming=False)
        return
    except Exception:
        await welcome.change(phase="failed", problem=_UNEXPECTED[0], remedy=_UNEXPECTED[1], streaming=False)
        raise
    if cl.user_session.get("welcome") is welcome:  # unless a question came first
        await welcome.change(phase="ready", streaming=False, **facts)
    answer, candidates = runtime.settings.answer, runtime.settings.evidence.candidates
    words = max(50, round(answer.max_tokens * _WORDS_PER_TOKEN / 25) * 25)
    inputs: list[InputWidget] = [
        Slider(id="words", label="Longest answer, in words", initial=words, min=50, max=max(500, words), step=25),
        Slider(id="sources", label="Passages to draw on, the best ones", initial=candidates, min=1, max=candidates, step=1),
    ]
    inputs += microphone.hands_free_switch(runtime.settings.voice.hands_free)
    inputs.append(consent_switch(runtime.settings.finetune.conversations))
    if models:
        chosen = runtime.settings.model.name
        inputs.insert(0, Select(id="model", label="Model", items={name: name for name in models}, initial_value=chosen))
    await cl.ChatSettings(inputs).send()


@cl.on_settings_update
async def apply_settings(values: dict[str, Any]) -> None:
    """Use the reader's settings from the next question on; the model is everybody's."""
    max_tokens = round(float(values["words"]) / _WORDS_PER_TOKEN)
    cl.user_session.set("sizes", {"sources": int(values["sources"]), "max_tokens": max_tokens})
    cl.user_session.set("hands_free", bool(values.get("hands_free")))
    runtime = await opened()
    await apply_consent(values, runtime.history, cl.context.session.thread_id)
    if (name := values.get("model")) and name != runtime.settings.model.name:
        try:
            await asyncio.to_thread(runtime.choose_model, name)
        except CourseError as error:
            await cl.context.emitter.send_toast(str(error), "error")
        else:
            await cl.context.emitter.send_toast(f"Answers now come from {name}.", "success")


@cl.on_message
async def respond(message: cl.Message) -> None:
    """Take the files of a message in, then answer its question."""
    if welcome := cl.user_session.get("welcome"):
        cl.user_session.set("welcome", None)
        await welcome.message.remove()
    stop = Event()
    cl.user_session.set("stop", stop)
    cl.user_session.set("unfinished", None)
    try:
        if any(element.path for element in message.elements):
            await upload.take_in(await opened(), message, stop)
        if message.content.strip() and not stop.is_set():
            await _answer(message, stop)
    except CourseError as error:
        await _say_error(message, error.problem, error.remedy)
    except Exception:  # Chainlit only logs it, and the reader would wait for ever
        await _say_error(message, *_UNEXPECTED)
        raise
    finally:
        stop.set()


async def _say_error(question: cl.Message, problem: str, remedy: str) -> None:
    microphone.aloud(question)(Refusal("failed", f"{problem} {remedy}"))
    unfinished = cl.user_session.get("unfinished")
    message = unfinished or LiveMessage("Evidence")
    if unfinished is None:
        await message.send()
    await message.fail(problem, remedy)


async def _answer(message: cl.Message, stop: Event) -> None:
    shown = TurnMessage("searching" if is_warm() else "loading")
    cl.user_session.set("unfinished", shown)
    await shown.send()
    loading = asyncio.create_task(warmed())
    while not loading.done():
        await asyncio.wait({loading}, timeout=0.2)
        if stop.is_set():
            await shown.change("*Stopped before the first sentence.*", streaming=False, phase="done")
            return
    runtime = loading.result()
    from assistant.guards import admitted  # what it imports, the runtime has imported by now

    exchanges: dict[str, Exchange] = cl.user_session.get("exchanges") or {}
    if message.id in exchanges:  # an edited question: it and what followed are taken back
        exchanges = dict(list(exchanges.items())[: list(exchanges).index(message.id)])
    turn = Turn(
        question=message.content.strip(),
        conversation=cl.context.session.thread_id,
        earlier=tuple(exchanges.values()),
        consent=has_consented(),
        stop=stop,
        **(cl.user_session.get("sizes") or {}),
    )
    speak = microphone.aloud(message)
    async for event in admitted(runtime.astream, turn, cl.context.session.id, runtime.settings.policy_file):
        speak(event)
        if isinstance(event, Done):
            if run := cl.context.current_run:
                _feedback.link(run.id, event.turn_id)
            if event.exchange:
                cl.user_session.set("exchanges", {**exchanges, message.id: event.exchange})
        await shown.show(event, runtime.index.document)
    cl.user_session.set("unfinished", None)


@sio.on("stop")
async def stop_answer(sid: str) -> None:
    """Stop the answer; what was checked so far stays.

    Takes the place of Chainlit's handler, which kills the task, and with it the turn's record, and posts a message.
    """
    if session := WebsocketSession.get(sid):
        init_ws_context(session)
        if stop := cl.user_session.get("stop"):
            stop.set()
        await microphone.hush()


@cl.on_chat_end
async def leave() -> None:
    """Free the model when the reader has gone for good; `on_chat_end` comes with every lost connection."""
    await microphone.hang_up()
    session, stop = cl.context.session, cl.user_session.get("stop")
    if stop is None or not isinstance(session, WebsocketSession):
        return
    socket, waited = session.socket_id, 0.0
    # "New chat" sets `to_clear`, but its event may overtake or follow this one.
    while waited < _GRACE_S and not (session.to_clear or stop.is_set()):
        await asyncio.sleep(0.2)
        waited += 0.2
    if session.to_clear or session.socket_id == socket:
        stop.set()


@cl.on_window_message
async def listen(data: Any) -> None:
    """The buttons of public/lectern.js; other scripts post to the window too, and are ignored."""
    if data == microphone.HUSH_REQUEST:
        await microphone.hush()
    if data == sources.OPEN_REQUEST:
        try:
            await sources.show_sources()
        except CourseError as error:
            await cl.context.emitter.send_toast(str(error), "error")


@cl.action_callback("remove_source")
async def remove_source(action: cl.Action) -> dict[str, Any]:
    """The confirmed "Remove" of the panel of sources."""
    return await sources.remove_source(str(action.payload["source"]))
