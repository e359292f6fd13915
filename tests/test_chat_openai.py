"""The chat model behind a server, over a real socket."""

import threading
import time

import pytest
from fake_openai import MODEL, FakeOpenAI, serving
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from assistant.llm.chat_openai import KEY, ChatServer, chat_server
from knowledge.errors import CourseError

ASKED = [
    SystemMessage([{"type": "text", "text": "Be brief.", "cache_key": "rules"}, {"type": "text", "text": "\n\nBees dance."}]),
    HumanMessage("What do bees do?"),
    AIMessage("They dance."),
    HumanMessage("Why?"),
]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    with serving() as running:
        yield running


def model(server: FakeOpenAI, **more):
    return ChatServer(**{"url": server.url, "model": MODEL, "retries": 0, **more})


def pieces(chunks):
    return [chunk.content for chunk in chunks if chunk.content]


def failing(server, **more):
    with pytest.raises(CourseError) as caught:
        model(server, **more).invoke("Hi")
    assert caught.value.remedy
    return caught.value


def test_an_answer_is_streamed_with_its_counts(server):
    *written, last = model(server).stream(ASKED, max_tokens=50)
    assert pieces(written) == ["Bees ", "dance."]
    assert last.usage_metadata["input_tokens"] == 40
    assert last.usage_metadata["output_tokens"] == 2
    assert last.usage_metadata["input_token_details"] == {"cache_read": 30}
    assert last.response_metadata["finish_reason"] == "stop"


def test_the_request_is_what_such_servers_understand(server):
    assert model(server).invoke(ASKED, max_tokens=50, stop=["\n\n"]).content == "Bees dance."
    (asked,) = server.requests
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief.\n\nBees dance."},
        {"role": "user", "content": "What do bees do?"},
        {"role": "assistant", "content": "They dance."},
        {"role": "user", "content": "Why?"},
    ]
    assert (asked["model"], asked["max_tokens"], asked["temperature"], asked["stop"]) == (MODEL, 50, 0, ["\n\n"])
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})


def test_a_full_answer_says_so_and_counts_may_be_missing(server):
    server.finish, server.usage = "length", None
    answer = model(server, max_tokens=2).invoke("Hi")
    assert (answer.content, answer.response_metadata["finish_reason"]) == ("Bees dance.", "length")
    assert answer.usage_metadata is None
    assert server.requests[0]["max_tokens"] == 2


def test_only_our_own_key_is_sent(server, monkeypatch):
    for name, value in (("OPENAI_API_KEY", "theirs"), ("OPENAI_ORG_ID", "theirs"), ("OPENAI_PROJECT_ID", "theirs")):
        monkeypatch.setenv(name, value)
    model(server).invoke("Hi")
    assert not [value for value in server.headers[0].values() if "theirs" in value]
    monkeypatch.setenv(KEY, "word")
    model(server).invoke("Hi")
    assert server.headers[1]["authorization"] == "Bearer word"


def test_closing_the_stream_breaks_the_connection(server):
    server.fault = "silent"
    stream = model(server).stream("Hi")
    assert next(stream).content == "Bees "
    stream.close()
    assert server.left.wait(20)


@pytest.mark.parametrize("fault", ["mute", "silent"])
def test_the_stop_event_breaks_the_connection_whatever_the_server_does(server, fault):
    """Also while it reads the prompt and says nothing at all."""
    server.fault = fault
    stop = threading.Event()

    def leave():
        assert server.asked.wait(30)
        time.sleep(0.2)
        stop.set()

    threading.Thread(target=leave, daemon=True).start()
    *written, last = model(server).stream("Hi", stop_event=stop)
    assert pieces(written) == (["Bees "] if fault == "silent" else [])
    assert last.response_metadata["finish_reason"] == "interrupted"
    assert server.left.wait(20)


def test_who_has_left_before_the_beginning_is_not_answered(server):
    stop = threading.Event()
    stop.set()
    assert pieces(model(server).stream("Hi", stop_event=stop)) == []


def test_several_ask_at_once(server):
    one = model(server)
    found = []
    threads = [threading.Thread(target=lambda: found.append(one.invoke("Hi").content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == ["Bees dance."] * 8


# Faults


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "refuses the key"),
        (403, "refuses the key"),
        (404, "does not know the model small"),
        (400, "refuses the prompt"),
        (429, "too much to do"),
        (500, "replied 500"),
        (307, "replied 307"),
    ],
)
def test_what_the_server_refuses_is_said_without_the_key(server, monkeypatch, status, said):
    monkeypatch.setenv(KEY, "a-secret-word")
    server.statuses = [status]
    error = failing(server)
    assert said in error.problem and server.url in error.problem
    assert "a-secret-word" not in str(error)
    if status == 401:
        assert KEY in error.remedy


def test_a_busy_server_is_asked_again(server):
    server.statuses = [429, 503]
    assert model(server, retries=2).invoke("Hi").content == "Bees dance."


def test_a_model_that_the_server_does_not_have(server):
    assert "does not know the model other" in failing(server, model="other").problem


@pytest.mark.parametrize(
    ("fault", "said"), [("cut", "broke off"), ("end", "broke off"), ("error", "out of memory"), ("page", "interface of OpenAI")]
)
def test_a_broken_answer_is_no_answer(server, fault, said):
    server.fault = fault
    assert said in failing(server).problem


def test_what_came_before_the_break_is_kept(server):
    server.fault = "cut"
    written = []
    with pytest.raises(CourseError):
        written += [chunk.content for chunk in iter_into(written, model(server).stream("Hi"))]
    assert "Bees " in written


def iter_into(kept, chunks):
    for chunk in chunks:
        kept.append(chunk.content)
        yield chunk


@pytest.mark.parametrize("fault", ["mute", "silent"])
def test_a_server_that_says_nothing_for_too_long(server, fault):
    server.fault = fault
    assert "said nothing for too long" in failing(server, wait_s=0.3).problem


def test_nobody_there():
    with pytest.raises(CourseError, match=r"127\.0\.0\.1:9/v1 does not answer") as caught:
        ChatServer(url="http://127.0.0.1:9/v1", model="m", retries=0).invoke("Hi")
    assert "Start the server" in caught.value.remedy


def test_a_base_that_is_not_one(server):
    with pytest.raises(CourseError, match="404"):
        ChatServer(url=server.url.removesuffix("/v1"), model=MODEL, retries=0).invoke("Hi")


# Names


def test_a_name_gives_url_and_model():
    made = chat_server("http://127.0.0.1:8000/v1/#qwen/qwen2.5-7b")
    assert (made.url, made.model) == ("http://127.0.0.1:8000/v1", "qwen/qwen2.5-7b")


@pytest.mark.parametrize("where", ["", "localhost:8000#m", "http://localhost:8000/v1", "file:///v1#m", "http://#m"])
def test_names_that_are_none(where):
    with pytest.raises(CourseError, match="names no endpoint"):
        chat_server(where)


def test_a_password_does_not_belong_into_a_name():
    with pytest.raises(CourseError) as caught:
        chat_server("https://me:word@example.org/v1#m")
    assert "word" not in caught.value.problem.replace("password", "") and KEY in caught.value.remedy


def test_the_server_says_which_models_it_has(server):
    assert model(server).models() == [MODEL]
    assert server.paths == ["/v1/models"]
    server.statuses = [401]
    with pytest.raises(CourseError, match="refuses the key"):
        model(server).models()
    with pytest.raises(CourseError, match="does not answer"):
        ChatServer(url="http://127.0.0.1:9/v1", model="m", retries=0).models()


def test_tokens_are_estimated():
    counted = chat_server("http://127.0.0.1:1/v1#m").count_tokens
    assert (counted(""), counted("seven b"), counted("ü" * 7)) == (0, 2, 4)


def test_draws_and_chances_are_asked_of_the_server(server):
    server.logprobs = [{"token": "Yes", "logprob": -0.1, "top_logprobs": [{"token": "Yes", "logprob": -0.1}]}]
    reply = model(server).invoke([HumanMessage("So?")], temperature=0.8, seed=3, top_logprobs=1)
    (asked,) = server.requests
    assert (asked["temperature"], asked["seed"], asked["logprobs"], asked["top_logprobs"]) == (0.8, 3, True, 1)
    told = reply.response_metadata["logprobs"]["content"][0]
    assert (told["token"], told["top_logprobs"][0]["logprob"]) == ("Yes", -0.1)
