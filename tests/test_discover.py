import os
from pathlib import Path

import pytest

from knowledge.loaders.discover import Found, Rejected, discover


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("words")


def outcomes(*paths: Path) -> tuple[list[Path], dict[Path, str]]:
    found = list(discover(paths))
    return [item.path for item in found if isinstance(item, Found)], {
        item.path: item.reason for item in found if isinstance(item, Rejected)
    }


def test_folders_are_walked_in_order_and_clutter_is_skipped(tmp_path):
    make(tmp_path, "b.md", "a/2.PDF", "a/1.txt", "a.md", ".hidden.md", ".git/x.md", "__pycache__/x.py", "node_modules/x.js")
    make(tmp_path, ".venv/x.py", "a/sub/__pycache__/y.py", "picture.png", "Makefile")
    found, rejected = outcomes(tmp_path)
    assert found == [tmp_path / name for name in ("a/1.txt", "a/2.PDF", "a.md", "b.md")]
    assert {path.name for path in rejected} == {"picture.png", "Makefile"}
    assert ".png" in rejected[tmp_path / "picture.png"]


def test_files_are_taken_in_the_given_order_and_once(tmp_path):
    make(tmp_path, "b.md", "a.md", ".given.md")
    (tmp_path / "again.md").symlink_to(tmp_path / "a.md")
    given = [tmp_path / "b.md", tmp_path, tmp_path / "b.md", tmp_path / ".given.md", tmp_path / "again.md"]
    found, rejected = outcomes(*given)
    assert [path.name for path in found] == ["b.md", "a.md", ".given.md"] and not rejected


def test_source_is_the_resolved_path(tmp_path, monkeypatch):
    make(tmp_path, "a.md")
    monkeypatch.chdir(tmp_path)
    assert list(discover([Path("a.md")])) == [Found(Path("a.md"), str((tmp_path / "a.md").resolve()))]


def test_missing_and_unsupported_paths(tmp_path):
    make(tmp_path, "a.xyz")
    found, rejected = outcomes(tmp_path / "missing.md", tmp_path / "a.xyz", Path("nul\0byte.md"))
    assert not found
    assert "no such file" in rejected[tmp_path / "missing.md"]
    assert ".xyz" in rejected[tmp_path / "a.xyz"]
    assert len(rejected) == 3


def test_links_that_leave_the_folder_are_rejected(tmp_path):
    make(tmp_path, "outside/secret.md", "course/a.md", "course/sub/b.md")
    course = tmp_path / "course"
    (course / "file-link.md").symlink_to(tmp_path / "outside/secret.md")
    (course / "folder-link").symlink_to(tmp_path / "outside")
    (course / "sub/up").symlink_to(tmp_path)
    (course / "broken.md").symlink_to(tmp_path / "nothing.md")
    (course / "inner-link").symlink_to(course / "sub")
    (course / "same.md").symlink_to(course / "a.md")
    found, rejected = outcomes(course)
    assert [path.name for path in found] == ["a.md", "b.md"]
    assert {path.name: reason.split(";")[0] for path, reason in rejected.items()} == {
        "broken.md": "The link leads nowhere.",
        "file-link.md": "The link leads out of the folder",
        "folder-link": "The link leads out of the folder",
        "up": "The link leads out of the folder",
    }


def test_a_link_given_by_name_is_taken_as_meant(tmp_path):
    make(tmp_path, "outside/a.md", "course/b.md")
    (tmp_path / "course/link").symlink_to(tmp_path / "outside")
    found, rejected = outcomes(tmp_path / "course/link")
    assert [path.name for path in found] == ["a.md"] and not rejected


def test_loops_of_links_end(tmp_path):
    make(tmp_path, "a.md")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "round").symlink_to(tmp_path)
    found, rejected = outcomes(tmp_path, tmp_path / "self")
    assert [path.name for path in found] == ["a.md"]
    assert [path.name for path in rejected] == ["self"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_rejected(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    assert "regular" in outcomes(tmp_path)[1][tmp_path / "pipe.md"]


def test_what_may_not_be_read_is_rejected(tmp_path, monkeypatch):
    make(tmp_path, "a.md", "locked/b.md", "c.md")
    scandir = os.scandir
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "a.md")

    def guarded(path: Path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found, rejected = outcomes(tmp_path)
    assert [path.name for path in found] == ["c.md"]
    assert "permission" in rejected[tmp_path / "a.md"]
    assert "Permission denied" in rejected[tmp_path / "locked"]
