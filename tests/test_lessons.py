"""The starter course keeps its promises: form, length, and code that runs."""

import os
import re
import subprocess
import sys

import pytest

from knowledge.ingest import STARTER_COURSE

LESSONS = sorted(STARTER_COURSE.glob("*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LIMIT_S = 180  # a lesson takes seconds; the machine may be busy


def _code(path):
    return "\n".join(body for language, body in _FENCE.findall(path.read_text(encoding="utf-8")) if language == "python")


def test_there_are_at_least_32_lessons():
    assert len(LESSONS) >= 32


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_form(lesson):
    text = lesson.read_text(encoding="utf-8")
    words = len(_FENCE.sub("", text).split())
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert re.match(r"# \S", text)
    assert 900 <= words <= 1600
    assert headings[0] == "Outline"
    assert headings[-2:] == ["Common mistakes", "Sources"]
    assert any(heading.startswith("Worked example") for heading in headings)
    assert "http" not in text


def _with_marks(lesson):
    marks = [pytest.mark.lessons, *([pytest.mark.model] if "model_path" in _code(lesson) else [])]
    return pytest.param(lesson, marks=marks, id=lesson.stem)


@pytest.mark.parametrize("lesson", [_with_marks(path) for path in LESSONS if _code(path)])
def test_code_runs(lesson, tmp_path):
    code = _code(lesson)
    assert "assert " in code
    if "model_path" in code:
        _skip_without_weights(code)
    # One process a lesson, as a student would run it; one thread, because two fight each other on two busy cores.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=_LIMIT_S
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def _skip_without_weights(code):
    from assistant.models import model_path
    from knowledge.errors import MissingModel

    for name in re.findall(r'model_path\("([^"]+)"\)', code):
        try:
            model_path(name)
        except MissingModel as error:
            pytest.skip(str(error))
