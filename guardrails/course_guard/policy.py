"""What follows from a finding of each rule: policy.toml beside this file, overlaid by the teacher's own."""

import re
import tomllib
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from course_guard.verdict import Action, Finding, Verdict
from knowledge.errors import CourseError
from knowledge.settings import StrictModel

SHIPPED = Path(__file__).with_name("policy.toml")


def _only_reason(message: str) -> str:
    if unknown := [field for field in re.findall(r"\{(.*?)\}", message) if field != "reason"]:
        raise ValueError(f"it may hold {{reason}}, but not {{{unknown[0]}}}")
    return message


class RulePolicy(StrictModel):
    """One rule's table in policy.toml."""

    action: Action
    threshold: float = Field(ge=0, le=1, description="how sure the rule must be")
    message: Annotated[str, AfterValidator(_only_reason)] = Field(description="{reason} stands for the rule's own words")

    def words(self, reason: str) -> str:
        """What the reader is told; `reason` is what the rule says."""
        return self.message.replace("{reason}", reason) or reason


class LengthPolicy(RulePolicy):
    """The same, with the limit itself."""

    max_chars: int = Field(ge=1, description="longest question in characters")


class RatePolicy(RulePolicy):
    """The same, with the limits themselves."""

    per_minute: int = Field(ge=1, description="most questions of one session of the page in any minute")
    waiting: int = Field(ge=1, description="most questions of everybody that are not answered yet")


class InputPolicy(StrictModel):
    """Rules that look at questions."""

    rate: RatePolicy
    length: LengthPolicy
    secrets: RulePolicy
    personal: RulePolicy
    injection: RulePolicy
    distress: RulePolicy
    abuse: RulePolicy
    graded_work: RulePolicy


class OutputPolicy(StrictModel):
    """Rules that look at answers."""

    leak: RulePolicy
    markup: RulePolicy
    citations: RulePolicy
    secrets: RulePolicy
    personal: RulePolicy


class DocumentPolicy(StrictModel):
    """Rules that look at files."""

    planted: RulePolicy


class Policy(StrictModel):
    """The policy in force."""

    input: InputPolicy
    output: OutputPolicy
    document: DocumentPolicy

    def of(self, rule: str) -> RulePolicy:
        """The table of a rule, such as "input.injection".

        Raises:
            KeyError: there is no such rule.
        """
        return self.rules()[rule]

    def rules(self) -> dict[str, RulePolicy]:
        """All tables by the name of their rule, in the order in which rules run."""
        return {f"{kind}.{name}": table for kind, rules in self for name, table in rules}

    def judge(self, rule: str, finding: Finding) -> Verdict | None:
        """What follows from a finding; None where the rule is off or not sure enough."""
        table = self.of(rule)
        if table.action is Action.OFF or finding.score < table.threshold:
            return None
        allowed = table.action is not Action.BLOCK
        return Verdict(allowed, rule, table.words(finding.reason), finding.spans, table.action, finding.score)


def load_policy(own: Path | None = None) -> Policy:
    """The shipped policy, overlaid by the teacher's file if there is one.

    Raises:
        CourseError: the file cannot be read, or has an unknown rule, key or value; the text names it.
    """
    overlay = own_values(own) if own is not None else {}
    try:
        return Policy.model_validate(_overlaid(_read(SHIPPED), overlay))
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        name = ".".join(path)
        if first["type"] == "extra_forbidden":
            raise CourseError(f"{own}: there is no {name} in a policy.", _remedy_for_unknown(path)) from error
        what = str(first.get("ctx", {}).get("error", first["msg"]))
        raise CourseError(f"{own}: {name}: {what}.", "Correct it; `lectern guard policy` shows every rule.") from error


def own_values(own: Path) -> dict[str, Any]:
    """What the teacher's file says, unchecked: tables of tables as TOML has them, {} where there is no file.

    Raises:
        CourseError: it cannot be read, or is not TOML.
    """
    try:
        return _read(own)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CourseError(f"The policy {own} cannot be read: {error}.", "Correct it, or delete it.") from error


@cache
def default_policy() -> Policy:
    """The shipped policy alone."""
    return load_policy()


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # an editor may have put a byte order mark there


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, table by table; other values are replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _overlaid(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _remedy_for_unknown(path: list[str]) -> str:
    """Names what may stand there, and what was probably meant."""
    here: Any = default_policy()
    for part in path[:-1]:
        here = getattr(here, part)
    known = list(type(here).model_fields) if isinstance(here, BaseModel) else []
    meant = get_close_matches(path[-1], known, n=1)
    return f"Did you mean {meant[0]}?" if meant else f"It may hold: {', '.join(known)}."
