"""The store of saved states on a real disk: nothing wrong is ever loaded, and nothing that happens to the disk raises."""

import errno
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.llm import kv, kv_file
from assistant.llm.kv import StateStore
from assistant.llm.kv_file import token_bytes

ROOT = Path(kv.__file__).parents[2]
MB = 1 << 20
ENGINE = "weights:1.0:f16"
TOKENS = [1, 2, 151_643, 0]
PAYLOAD = bytes(range(256)) * 2
posix_only = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes, no RLIMIT_FSIZE, and guards open files")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "states"


@pytest.fixture
def store(folder):
    return StateStore(folder, 10 * MB, ENGINE)


@pytest.fixture
def file(store, folder):
    """The file of TOKENS and PAYLOAD."""
    assert store.save(TOKENS, PAYLOAD, "section 1")
    (path,) = folder.iterdir()
    return path


def bytes_of(payload):
    return None if payload is None else payload.tobytes()


def labels(store):
    return [state.label for state in store.saved()]


def fill(store, *names, size=1000):
    """One state each, the first the least recently used; the tokens are those of its name."""
    for age, name in enumerate(reversed(names)):
        assert store.save(tokens_of(name), bytes(size), name)
        when = time.time() - 100 - age
        os.utime(store._path(token_bytes(tokens_of(name))), (when, when))


def tokens_of(name):
    return list(name.encode())


def out_of_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_python(script, *arguments):
    """The script in a process of its own, with `kv`, `StateStore` and `sys` at hand."""
    imports = (
        "import os, sys\nfrom pathlib import Path\nfrom assistant.llm import kv\nfrom assistant.llm.kv import StateStore\n"
    )
    command = [sys.executable, "-c", imports + script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# What goes in comes out


@settings(deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50),
    st.binary(max_size=200),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_any_state_comes_back_as_it_was_saved(tmp_path_factory, engine, tokens, payload, label):
    folder = tmp_path_factory.mktemp("states")
    store = StateStore(folder, 10 * MB, engine)
    assert (store.has(tokens), store.load(tokens)) == (False, None)
    before = time.time() - 1
    assert store.save(tokens, payload, label)
    assert store.has(tokens)
    again = StateStore(folder, 10 * MB, engine)
    assert bytes_of(again.load(tokens)) == payload
    (state,) = again.saved()
    assert (state.label, state.tokens, state.bytes) == (label, len(tokens), again.used())
    assert before < state.used_at < time.time() + 1
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data + b"more", np.uint8)[: len(data)]]
)
def test_any_buffer_can_be_saved(store, kind):
    assert store.save(TOKENS, kind(PAYLOAD), "x")
    loaded = store.load(TOKENS)
    assert (loaded.dtype, loaded.shape, loaded.flags.writeable) == (np.uint8, (len(PAYLOAD),), True)
    assert bytes_of(loaded) == PAYLOAD


def test_numpy_tokens_are_the_same_tokens(store):
    assert store.save(np.array(TOKENS, np.int64), PAYLOAD, "x")
    assert bytes_of(store.load(TOKENS)) == PAYLOAD


def test_a_label_may_be_the_name_of_a_file_that_is_not_utf8(store):
    label = b"caf\xe9.md".decode("utf-8", "surrogateescape")
    assert store.save(TOKENS, PAYLOAD, label)
    assert labels(store) == [label]


def test_saving_again_replaces(store, file):
    assert store.save(TOKENS, b"new", "section 2")
    assert bytes_of(store.load(TOKENS)) == b"new"
    assert labels(store) == ["section 2"]
    assert len(list(file.parent.iterdir())) == 1


@pytest.mark.usefixtures("file")
def test_only_exactly_these_tokens_are_found(store):
    for others in (TOKENS[:-1], [*TOKENS, 0], TOKENS[::-1], []):
        assert not store.has(others)
        assert store.load(others) is None


def test_longest_prefix(store):
    tokens = list(range(100, 140))
    for length in (5, 20, 40):
        store.save(tokens[:length], PAYLOAD, "x")
    assert store.longest(tokens, range(1, 41)) == 40
    assert store.longest(tokens, (n for n in (30, 20, 5, 20))) == 20
    assert store.longest(tokens, [19, 5]) == 5
    assert store.longest(tokens, [0, -35, 41, 4]) == 0
    assert store.longest(tokens[:39], [5, 20, 40]) == 20
    assert store.longest([1, *tokens], [6, 21]) == 0
    assert store.longest(tokens, []) == 0


# Nothing else is ever loaded


def test_engine_and_tokens_do_not_run_into_each_other(folder):
    a = int.from_bytes(b"aaaa", "little")
    store = StateStore(folder, MB, "e")
    store.save([a, 7], PAYLOAD, "x")
    assert StateStore(folder, MB, "eaaaa").load([7]) is None
    assert store.has([a, 7])


def test_a_state_of_another_engine_is_not_found_and_stays(folder, store, file):
    other = StateStore(folder, 10 * MB, "weights:1.1:f16")
    assert not other.has(TOKENS)
    assert other.load(TOKENS) is None
    assert other.saved() == []
    assert other.used() == store.used() == file.stat().st_size
    assert bytes_of(store.load(TOKENS)) == PAYLOAD


@pytest.mark.parametrize(
    ("engine", "tokens"), [("weights:1.1:f16", TOKENS), (ENGINE, [1, 2, 151_643, 1]), (ENGINE, TOKENS[:3])]
)
def test_a_forged_name_does_not_help(folder, file, caplog, engine, tokens):
    other = StateStore(folder, 10 * MB, engine)
    forged = file.rename(other._path(token_bytes(tokens)))
    assert other.has(tokens)
    assert other.load(tokens) is None
    assert f"it is of {'other tokens' if engine == ENGINE else 'another engine'}" in caplog.text
    assert forged.name in caplog.text
    assert not forged.exists()


def test_every_single_wrong_byte_is_noticed(store, file, caplog):
    good = file.read_bytes()
    assert len(good) > len(PAYLOAD) + 4 * len(TOKENS) + len(ENGINE)
    for position in range(len(good)):
        for change in (0x01, 0x80, 0xFF):
            bad = bytearray(good)
            bad[position] ^= change
            file.write_bytes(bad)
            assert store.load(TOKENS) is None, (position, change)
            assert not file.exists()
    assert len(caplog.records) == 3 * len(good)
    for reason in ("no saved state", "its format is", "bytes instead of", "another engine", "other tokens", "have changed"):
        assert reason in caplog.text
    file.write_bytes(good)
    assert bytes_of(store.load(TOKENS)) == PAYLOAD


def test_every_truncation_is_noticed(store, file):
    good = file.read_bytes()
    for length in range(len(good)):
        file.write_bytes(good[:length])
        assert store.load(TOKENS) is None, length
        assert not file.exists()
    file.write_bytes(good + b"\0")
    assert store.load(TOKENS) is None


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_damage_gives_the_payload_or_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("states")
    store = StateStore(folder, 10 * MB, ENGINE)
    store.save(TOKENS, PAYLOAD[:40], "x")
    (file,) = folder.iterdir()
    good = file.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 30)))
    file.write_bytes(good[:start] + data.draw(st.binary(max_size=30)) + good[end:])
    damaged = file.read_bytes() != good
    assert len(store.saved()) <= 1
    assert bytes_of(store.load(TOKENS)) == (None if damaged else PAYLOAD[:40])
    assert store.discard(lambda label: False) == (not damaged)
    assert list(folder.iterdir()) == []
    shutil.rmtree(folder)


def test_a_header_that_promises_too_much_takes_no_memory(store, file):
    good = file.read_bytes()
    start = kv_file.START.pack(kv_file.MAGIC, kv_file.VERSION, len(ENGINE), 9, len(TOKENS), 1 << 60)
    file.write_bytes(start + good[len(start) :])
    assert store.load(TOKENS) is None


@posix_only
def test_a_file_that_shrinks_while_it_is_read_is_not_loaded(store, file, monkeypatch):
    def shrink(handle):
        status = fstat(handle)
        os.truncate(file, status.st_size - 1000)
        return status

    store.save(TOKENS, bytes(MB), "x")  # more than a buffer holds
    fstat = os.fstat
    with monkeypatch.context() as patch:
        patch.setattr(kv.os, "fstat", shrink)
        assert store.load(TOKENS) is None


# The budget


def test_the_least_recently_used_go_first(folder, store):
    fill(store, "d", "c", "b", "a")
    assert labels(store) == ["a", "b", "c", "d"]
    each = store.used() // 4
    store.load(tokens_of("d"))
    assert labels(store) == ["d", "a", "b", "c"]
    small = StateStore(folder, 4 * each + 10, ENGINE)
    assert labels(small) == ["d", "a", "b", "c"]
    assert small.save(tokens_of("e"), bytes(1000), "e")
    assert labels(small) == ["e", "d", "a", "b"]
    assert small.save(tokens_of("f"), bytes(2000), "f")
    assert labels(small) == ["f", "e", "d"]


def test_a_smaller_budget_holds_from_the_start_and_for_all_engines(folder, store):
    fill(store, "c", "b", "a")
    each = store.used() // 3
    other = StateStore(folder, 2 * each, "another engine")
    assert labels(store) == ["a", "b"]
    assert other.save(TOKENS, bytes(100), "other")
    assert labels(store) == ["a"]
    assert StateStore(folder, 0, ENGINE).used() == 0


def test_what_exceeds_the_budget_is_not_saved_and_costs_nothing(folder, caplog):
    store = StateStore(folder, 5000, ENGINE)
    fill(store, "b", "a")
    assert not store.save(TOKENS, bytes(5000), "section 9")
    assert labels(store) == ["a", "b"]
    assert "section 9" in caplog.text
    assert "the budget is 5000 bytes" in caplog.text


def test_what_was_just_written_stays_whatever_its_time_says(folder, store, monkeypatch):
    fill(store, "b", "a")
    budget = store.used()
    os.utime(next(folder.iterdir()), (time.time() + 1000,) * 2)  # the clock was set back
    small = StateStore(folder, budget, ENGINE)
    monkeypatch.setattr(small, "_make_room", lambda size: None)  # as if another process had filled the room again
    assert small.save(TOKENS, bytes(1500), "new")
    assert "new" in labels(small)
    assert small.used() <= budget


# A disk that is full, or not ours


def free_space(monkeypatch, free):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(kv.shutil, "disk_usage", lambda path: usage(10**12, 10**12 - free, free))


def test_on_a_full_disk_a_save_takes_the_place_of_the_oldest(store, monkeypatch):
    fill(store, "d", "c", "b", "a")
    free_space(monkeypatch, 0)
    assert store.save(tokens_of("e"), bytes(1000), "e")
    assert labels(store) == ["e", "a", "b", "c"]
    free_space(monkeypatch, kv._RESERVE + 600)
    assert store.save(tokens_of("f"), bytes(1500), "f")
    assert labels(store) == ["f", "e", "a", "b"]
    free_space(monkeypatch, kv._RESERVE + 2000)
    assert store.save(tokens_of("g"), bytes(1500), "g")
    assert labels(store) == ["g", "f", "e", "a", "b"]


def test_on_a_full_disk_nothing_is_sacrificed_in_vain(store, monkeypatch, caplog):
    fill(store, "b", "a")
    free_space(monkeypatch, 600)
    assert not store.save(TOKENS, bytes(5000), "x")
    assert labels(store) == ["a", "b"]
    assert "600 bytes of the disk are free" in caplog.text


@pytest.mark.parametrize("call", ["fsync", "fdopen"])
def test_a_disk_that_fills_up_meanwhile(store, folder, monkeypatch, caplog, call):
    fill(store, "d", "c", "b", "a", size=3000)
    with monkeypatch.context() as patch:
        patch.setattr(kv.os, call, out_of_space)
        assert not store.save(TOKENS, bytes(4000), "x")
    assert "No space left on device" in caplog.text
    assert {path.suffix for path in folder.iterdir()} == {".kv"}
    assert labels(store) == ["a", "b"]  # as much as it needed, so that the next succeeds
    assert store.save(TOKENS, bytes(4000), "x")


@posix_only
def test_a_write_that_breaks_off_leaves_the_old_state(store, folder, file):
    script = """if True:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        store = StateStore(Path(sys.argv[1]), 10 << 20, sys.argv[2])
        print(store.save([1, 2, 151_643, 0], bytes(300_000), "large"), store.save([5], bytes(50_000), "small"))
    """
    output, log = run_python(script, folder, ENGINE).communicate(timeout=60)
    assert output == "False True\n"
    assert "File too large" in log
    assert bytes_of(store.load(TOKENS)) == PAYLOAD
    assert sorted(labels(store)) == ["section 1", "small"]
    assert {path.suffix for path in folder.iterdir()} == {".kv"}


@pytest.mark.usefixtures("file")
def test_a_file_that_another_process_holds_open_on_windows_is_not_replaced(store, folder, monkeypatch, caplog):
    def refuse(*_, **options):
        raise PermissionError(errno.EACCES, "The process cannot access the file")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        assert not store.save(TOKENS, b"new", "section 2")
    assert "The process cannot access the file" in caplog.text
    assert [path.suffix for path in folder.iterdir()] == [".kv"]
    assert bytes_of(store.load(TOKENS)) == PAYLOAD
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert store.discard(lambda label: False) == 0
    assert store.discard(lambda label: False) == 1


def test_an_interrupt_leaves_no_half_file(store, folder, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(kv.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.save(TOKENS, PAYLOAD, "x")
    assert list(folder.iterdir()) == []


def assert_useless_but_harmless(store):
    assert not store.save(TOKENS, PAYLOAD, "x")
    assert not store.has(TOKENS)
    assert store.load(TOKENS) is None
    assert store.longest(TOKENS, [4]) == store.used() == store.discard(lambda label: False) == 0
    assert store.saved() == []


def test_a_folder_that_cannot_be(tmp_path, caplog):
    (tmp_path / "taken").write_text("a file")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "states"):
        caplog.clear()
        assert_useless_but_harmless(StateStore(folder, MB, ENGINE))
        assert "is not saved" in caplog.text


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_folder_of_somebody_else(folder, caplog, mode):
    folder.mkdir(parents=True)
    folder.chmod(mode)
    try:
        assert_useless_but_harmless(StateStore(folder, MB, ENGINE))
        assert "Permission denied" in caplog.text
    finally:
        folder.chmod(0o700)


def test_a_file_that_cannot_be_read_is_left_alone(store, file, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert store.load(TOKENS) is None
        assert store.saved() == []
        assert store.discard(lambda label: False) == 0
    assert "Too many open files" in caplog.text
    assert bytes_of(store.load(TOKENS)) == PAYLOAD
    assert file.exists()


@posix_only
def test_only_the_user_may_read(folder, file):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_folder_may_vanish(store, folder, file):
    shutil.rmtree(folder)
    assert store.load(TOKENS) is None
    assert (store.saved(), store.used(), store.discard(lambda label: False)) == ([], 0, 0)
    assert store.save(TOKENS, PAYLOAD, "x")
    assert file.exists()


# Killed


def test_killed_at_any_moment_there_is_the_old_state_or_the_new(folder, caplog):
    script = """if True:
        store = StateStore(Path(sys.argv[1]), 10 << 20, sys.argv[2])
        for version in range(10**6):
            store.save([1, 2, 3], bytes([version % 256]) * 500_000, f"version {version}")
            if version == 1:
                print("ready", flush=True)
    """
    orphans = 0
    for _ in range(6):
        with run_python(script, folder, ENGINE) as writer:
            ready = writer.stdout.readline()
            time.sleep(random.uniform(0, 0.05))
            writer.kill()
        assert ready == "ready\n"
        orphans += len(list(folder.glob("*.tmp")))
        store = StateStore(folder, 10 * MB, ENGINE)
        assert list(folder.glob("*.tmp")) == []
        payload = store.load([1, 2, 3])
        assert payload.shape == (500_000,)
        (state,) = store.saved()
        assert (payload == int(state.label.removeprefix("version ")) % 256).all()
    assert orphans > 0, "it was never killed while it wrote"
    assert caplog.records == []


@pytest.mark.parametrize("moment", ["os.fdopen", "os.fsync", "Path.replace"])
def test_killed_at_a_chosen_moment_the_old_state_is_there(store, folder, file, moment):
    script = f"""if True:
        kv.{moment} = lambda *_: os.kill(os.getpid(), 9)
        StateStore(Path(sys.argv[1]), 10 << 20, sys.argv[2]).save([1, 2, 151_643, 0], bytes(10**6), "new")
    """
    writer = run_python(script, folder, ENGINE)
    writer.communicate(timeout=60)
    assert writer.returncode in (-9, 9)
    assert [path.name for path in folder.glob("*.kv")] == [file.name]
    assert len(list(folder.glob(f"{writer.pid}-*.tmp"))) == 1
    assert bytes_of(store.load(TOKENS)) == PAYLOAD
    assert store.used() == file.stat().st_size
    StateStore(folder, 10 * MB, ENGINE)
    assert list(folder.iterdir()) == [file]


def test_only_files_without_a_living_writer_are_orphans(folder):
    folder.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine, old, dead, absurd, foreign = (
        folder / name
        for name in (f"{os.getpid()}-a.tmp", f"{os.getpid()}-b.tmp", f"{ended.pid}-c.tmp", f"{10**30}-d.tmp", "e.tmp")
    )
    for path in (mine, old, dead, absurd, foreign):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))  # a process of the same number wrote it before this one began
    StateStore(folder, 10 * MB, ENGINE)
    assert set(folder.iterdir()) == {mine, foreign}


# Several at once

HAMMER = """if True:
    import json, logging, random, time
    class Count(logging.Handler):
        def emit(self, record):
            problems.append(record.getMessage())
    problems, done = [], dict.fromkeys(("saved", "hits", "misses", "discarded", "listed"), 0)
    logging.getLogger().addHandler(Count())
    folder, budget, seed, end = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), time.monotonic() + 1.5
    draw = random.Random(seed)
    store = StateStore(folder, budget, "e")
    while time.monotonic() < end:
        number = draw.randrange(12)
        tokens, payload = [number] * 100, bytes([number]) * (5_000 + 1_000 * number)
        action = draw.random()
        if action < 0.4:
            done["saved"] += store.save(tokens, payload, f"label {number}")
        elif action < 0.8:
            found = store.load(tokens)
            assert found is None or found.tobytes() == payload
            done["misses" if found is None else "hits"] += 1
        elif action < 0.9:
            done["listed"] += len(store.saved())
            assert store.longest(tokens, [50, 100]) in (0, 100)
        elif action < 0.95:
            done["discarded"] += store.discard(lambda label: label != f"label {number}")
        else:
            store = StateStore(folder, budget, "e")
    print(json.dumps([done, problems[:3]]))
"""


def test_two_processes_in_one_folder(folder):
    budget = 40_000  # three or four of twelve states
    workers = [run_python(HAMMER, folder, budget, seed) for seed in (1, 2)]
    most = 0
    store = StateStore(folder, budget, "e")
    while any(worker.poll() is None for worker in workers):
        most = max(most, store.used())
        time.sleep(0.005)
    for worker in workers:
        output, errors = worker.communicate()
        assert worker.returncode == 0, errors
        done, problems = json.loads(output)
        assert problems == []
        assert min(done.values()) > 0, done
    assert 0 < store.used() <= budget
    assert most <= 2 * budget
    assert {path.suffix for path in folder.iterdir()} == {".kv"}


def test_a_file_may_vanish_while_the_folder_is_listed(store, monkeypatch):
    @contextmanager
    def scandir(folder):
        with original(folder) as found:
            entries = list(found)
        Path(entries[0].path).unlink()
        yield entries

    fill(store, "c", "b", "a")
    original = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(kv.os, "scandir", scandir)
        left = store._entries()
    assert len(left) == 2


def test_files_may_vanish_at_any_time(store, folder, monkeypatch):
    def lost(label):
        for path in folder.iterdir():
            path.unlink()
        return False

    fill(store, "c", "b", "a")
    store.discard(lost)
    assert store.used() == 0

    fill(store, "c", "b", "a")
    utime = os.utime
    with monkeypatch.context() as patch:
        patch.setattr(kv.os, "utime", lambda path: lost("") or utime(path))
        assert bytes_of(store.load(tokens_of("a"))) == bytes(1000)

    fill(store, "c", "b", "a")
    entries = store._entries()
    (folder / entries[0].name).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(store, "_entries", lambda: entries)
        assert [state.label for state in store.saved()] == ["a", "b"]
        store._evict(2 * entries[0].size)
    assert labels(store) == ["a", "b"]  # what another process removed counts


# Discarding


def test_discard_removes_what_is_not_kept(folder, store):
    other = StateStore(folder, 10 * MB, "another engine")
    fill(store, "section 1", "section 2", "conversation 1")
    fill(other, "section 1", "section 3")
    asked = []
    assert store.discard(lambda label: asked.append(label) or label in ("section 2", "section 3")) == 3
    assert sorted(asked) == ["conversation 1", "section 1", "section 1", "section 2", "section 3"]
    assert (labels(store), labels(other)) == (["section 2"], ["section 3"])
    assert store.discard(lambda label: True) == 0


def test_discard_removes_what_is_no_state_but_only_its_own_kind_of_files(folder, store, file, caplog):
    bad, foreign = folder / "bad.kv", folder / "notes.txt"
    for path in (bad, foreign):
        path.write_bytes(b"hello")
    with caplog.at_level(logging.WARNING):
        assert store.discard(lambda label: True) == 0
    assert "bad.kv is removed: it is cut off" in caplog.text
    assert set(folder.iterdir()) == {file, foreign}
