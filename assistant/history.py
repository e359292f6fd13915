"""The record of every turn and of what readers thought of it, in one SQLite file on this machine.

Evals, fine-tuning and the teacher's report read it; nothing else does. Answers are judged by turn id.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from knowledge.errors import CourseError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (
    id TEXT PRIMARY KEY, conversation TEXT NOT NULL, asked_at TEXT NOT NULL, question TEXT NOT NULL, standalone TEXT NOT NULL,
    answer TEXT NOT NULL, refused TEXT, record TEXT NOT NULL, consent INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS feedback (
    turn_id TEXT PRIMARY KEY REFERENCES turns(id) ON DELETE CASCADE, value INTEGER NOT NULL, comment TEXT,
    given_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS turns_by_time ON turns (asked_at);
"""
_ADD_CONSENT = "ALTER TABLE turns ADD COLUMN consent INTEGER NOT NULL DEFAULT 0"  # nobody had been asked


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn.

    Attributes:
        refused: the rule that refused, or None.
        record: evidence, sentences, dropped sentences, versions and timings, as `lectern ask --json` prints them.
        value: 1 for thumbs up, 0 for down, None without feedback.
        consent: whether who asked allows that the turn becomes training rows.
    """

    id: str
    conversation: str
    asked_at: str
    question: str
    standalone: str
    answer: str
    refused: str | None
    record: dict[str, Any]
    value: int | None = None
    comment: str | None = None
    consent: bool = False


class History:
    """Turns in the file at `path`, which is created at first use.

    Every method raises CourseError where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=30)) as db, db:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA foreign_keys=ON")
                db.executescript(_SCHEMA)
                _migrate(db)
                yield db
        except (OSError, sqlite3.DatabaseError) as error:
            remedy = "Check its permissions and the free disk space, or move it away."
            raise CourseError(f"The history {self._path} cannot be used: {error}.", remedy) from error

    def add(self, turn: TurnRecord) -> None:
        """Keep a turn."""
        values = (turn.id, turn.conversation, turn.asked_at, turn.question, turn.standalone, turn.answer, turn.refused)
        with self._open() as db:
            db.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, json.dumps(turn.record), turn.consent))

    def rate(self, turn_id: str, value: int, comment: str | None = None) -> None:
        """Judge a turn; a second judgement replaces the first.

        Args:
            turn_id: whole, as Done gives it.
            value: 1 for thumbs up, 0 for down.
            comment: why.

        Raises:
            CourseError: there is no such turn.
        """
        if value not in (0, 1):
            raise ValueError(f"Feedback is 1 or 0, not {value}.")
        with self._open() as db:
            if db.execute("SELECT 1 FROM turns WHERE id = ?", (turn_id,)).fetchone() is None:
                raise CourseError(f"There is no turn {turn_id}.", "See: lectern history list")
            db.execute("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?)", (turn_id, value, comment, now()))

    def unrate(self, turn_id: str) -> None:
        """Take a judgement back."""
        with self._open() as db:
            db.execute("DELETE FROM feedback WHERE turn_id = ?", (turn_id,))

    def turns(self, limit: int | None = None) -> list[TurnRecord]:
        """The newest `limit` turns (None: all), newest first."""
        query = """SELECT t.*, f.value, f.comment FROM turns t LEFT JOIN feedback f ON f.turn_id = t.id
                   ORDER BY t.asked_at DESC, t.rowid DESC LIMIT ?"""
        with self._open() as db:
            rows = db.execute(query, (-1 if limit is None else limit,)).fetchall()
        return [
            TurnRecord(**{**dict(row), "record": json.loads(row["record"]), "consent": bool(row["consent"])}) for row in rows
        ]

    def withdraw(self, conversation: str) -> None:
        """Take back the consent to train on the turns of a conversation."""
        with self._open() as db:
            db.execute("UPDATE turns SET consent = 0 WHERE conversation = ?", (conversation,))

    def consented(self) -> frozenset[str]:
        """Ids of the turns that may become training rows."""
        with self._open() as db:
            return frozenset(row["id"] for row in db.execute("SELECT id FROM turns WHERE consent"))

    def find(self, prefix: str) -> TurnRecord:
        """The turn whose id begins with `prefix`.

        Raises:
            CourseError: none or several do.
        """
        found = [turn for turn in self.turns() if turn.id.startswith(prefix)]
        if len(found) != 1:
            raise CourseError(
                f"{len(found) or 'No'} turns have an id that begins with {prefix!r}.", "See: lectern history list"
            )
        return found[0]

    def delete(self, turn_ids: list[str] | None = None) -> int:
        """Forget turns with their feedback (None: all); returns how many."""
        with self._open() as db:
            if turn_ids is None:
                count = db.execute("DELETE FROM turns").rowcount
            else:
                count = sum(db.execute("DELETE FROM turns WHERE id = ?", (id_,)).rowcount for id_ in turn_ids)
        with closing(sqlite3.connect(self._path)) as db:
            db.execute("VACUUM")  # so that deleted text leaves the disk too
        return count


def _migrate(db: sqlite3.Connection) -> None:
    """Bring a file of an earlier version up to date."""
    if _lacks_consent(db):
        db.execute("BEGIN IMMEDIATE")
        if _lacks_consent(db):  # another process may have been faster
            db.execute(_ADD_CONSENT)
        db.commit()


def _lacks_consent(db: sqlite3.Connection) -> bool:
    return all(column["name"] != "consent" for column in db.execute("PRAGMA table_info(turns)"))


def now() -> str:
    """The time as the history writes it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
