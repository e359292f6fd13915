"""The example of evals/README.md is a task."""

import re
from pathlib import Path

from evals.task import Task

README = Path(__file__).parents[1] / "evals" / "README.md"


def test_the_task_that_the_readme_shows_is_one():
    code = re.search(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert code
    found = {}
    exec(compile(code[1], "README.md", "exec"), found)
    (task,) = found["TASKS"]
    assert isinstance(task, Task)
    samples = list(task.samples(None))
    assert len({sample.id for sample in samples}) == len(samples) == 3
    output = {"answer": "", "sentences": [], "refused": True, "relevance": 0.2}
    scores = {name: value for scorer in task.scorers(None) for name, value in scorer(samples[0], output).items()}
    assert scores["refused_unanswerable"] == 1
    assert {metric.key for metric in task.metrics if metric.key} <= set(scores)
