"""The only file that imports guardrails-ai: our rules as its registered Validators, and its Guard to run them.

In anybody's guardrails-ai project:

    from course_guard.library import validator
    guard = Guard().use(validator("input.secrets", on_fail="fix"), validator("output.markup", on_fail="fix"))
    guard.validate("My key is ...").validated_output

What was found out about guardrails-ai 0.11 by trying, and is dealt with here:
- It reports to its makers unless a file in the home folder says no, and each new Guard reads that file anew.
- on_fail=None raises, and a second use() replaces the validators of the first.
- A result's metadata replaces the metadata that the next validators get, so findings are handed out through a list in it.
- A Guard keeps the last ten texts, and takes 60 ms to make: ours is made once and forgets every text at once.
- Its streams show text before it is checked, so sentences are cut by us and validated one by one.
- Its import takes 1.2 s, or 0.4 s where Chroma and LangChain are there already, so nothing imports it before it is needed.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from course_guard.verdict import Finding, Rule

if TYPE_CHECKING:
    from guardrails import Guard
    from guardrails.validator_base import FailResult, ValidationResult, Validator

_RULES = {
    "input.length": "limits:LengthRule",
    "input.secrets": "secrets:SecretsRule",
    "input.personal": "personal:PersonalDataRule",
    "input.injection": "injection:InjectionRule",
    "input.distress": "distress:DistressRule",
    "input.abuse": "abuse:AbuseRule",
    "input.graded_work": "graded:GradedWorkRule",
    "output.leak": "leak:PromptLeakRule",
    "output.markup": "markup:UnsafeMarkupRule",
    "output.citations": "citations:CitationsRule",
    "output.secrets": "secrets:SecretsRule",
    "output.personal": "personal:PersonalDataRule",
    "document.planted": "planted:PlantedInstructionRule",
}
_FOUND = "course_guard"  # where in the metadata a list may lie that takes what is found
_IRI = "rfc3987_syntax"


class Noticed(NamedTuple):
    """A finding, and the text that it is about: as the rules before it have left it."""

    rule: str
    finding: Finding
    text: str


class RuleGuard:
    """Rules run by one guardrails-ai Guard, in their order; may be used from several threads.

    Args:
        rules: each with its threshold, and whether its replacement takes the text's place.
    """

    def __init__(self, rules: Sequence[tuple[Rule, float, bool]]) -> None:
        self._rules = rules

    def run(self, text: str, about: Mapping[str, Any] | None = None) -> tuple[str, list[Noticed]]:
        """Look at a text with all rules, which costs about a millisecond more than they do; the first call imports the library.

        Args:
            text: any.
            about: what rules may need to know beside the text; see `validator_class`.

        Returns:
            The text as they left it, and what was noticed, in order.
        """
        noticed: list[Noticed] = []
        if not text:  # the library takes it for a missing one
            return text, noticed
        try:
            self._guard.validate(text, metadata={**(about or {}), _FOUND: noticed})
        finally:
            self._guard.history.clear()
        return self._left(text, noticed), noticed

    def _left(self, text: str, noticed: Sequence[Noticed]) -> str:
        """The text after the last rule; the library gives None instead wherever a rule failed last and changed nothing."""
        if not noticed:
            return text
        last = noticed[-1]
        mends = {rule.name for rule, _, mends in self._rules if mends}
        return last.text if last.rule not in mends or last.finding.replacement is None else last.finding.replacement

    @cached_property
    def _guard(self) -> "Guard":
        library = _guardrails()
        library.settings.disable_tracing = True  # spans for a collector of the user's own: they hold the text, and take 1.5 ms
        os.environ.setdefault("GUARDRAILS_RUN_SYNC", "true")  # or there is a thread pool for each text
        return library.Guard().use(
            *(
                validator_class(rule.name)(threshold, "noop" if not mends else _mended, rule=rule)
                for rule, threshold, mends in self._rules
            )
        )


def rules() -> list[str]:
    """The names of our rules."""
    return list(_RULES)


def make_rule(name: str, **arguments: Any) -> Rule:
    """A rule by its name, made with what its class takes.

    Raises:
        KeyError: there is no such rule.
    """
    module, made_by = _RULES[name].split(":")
    if list(_RULES.values()).count(_RULES[name]) > 1:  # one rule for questions and for answers
        arguments["name"] = name
    return cast(Rule, getattr(import_module(f"course_guard.rules.{module}"), made_by)(**arguments))


def validator(name: str, on_fail: Any = None, threshold: float = 0.0, **arguments: Any) -> "Validator":
    """A rule as a Validator for anybody's Guard.

    Args:
        name: as policy.toml calls it, such as "input.personal".
        on_fail: as guardrails-ai takes it; "fix" gives None where the rule cannot mend the text.
        threshold: what a rule is less sure of passes.
        arguments: what the rule is made with, such as `max_chars` for "input.length".

    Raises:
        KeyError: there is no such rule.
    """
    return validator_class(name)(threshold, on_fail, **arguments)


@cache
def validator_class(name: str) -> "type[Validator]":
    """The Validator of a rule, registered as "course_guard/<name>".

    A rule whose `look` needs more than the text names it in `wants`, and gets it from the metadata: for
    "output.citations", `guard.validate(text, metadata={"sources": 3})`.
    """
    _guardrails()
    from guardrails.validator_base import ErrorSpan, FailResult, PassResult, Validator, register_validator

    class RuleValidator(Validator):
        def __init__(self, threshold: float = 0.0, on_fail: Any = None, rule: Rule | None = None, **arguments: Any) -> None:
            super().__init__(on_fail=on_fail, threshold=threshold, **arguments)
            self._rule = rule or make_rule(name, **arguments)
            self._threshold = threshold

        def _validate(self, value: Any, metadata: dict[str, Any]) -> "ValidationResult":
            if not isinstance(value, str):
                return PassResult()  # a rule before this one has left nothing
            known = {key: metadata[key] for key in getattr(self._rule, "wants", ()) if key in metadata}
            finding = self._rule.look(value, **known)
            if finding is None or finding.score < self._threshold:
                return PassResult()
            metadata.get(_FOUND, []).append(Noticed(name, finding, value))
            spans = [ErrorSpan(start=start, end=end, reason=finding.reason) for start, end in finding.spans]
            return FailResult(error_message=finding.reason, fix_value=finding.replacement, error_spans=spans)

    RuleValidator.__name__ = RuleValidator.__qualname__ = name.title().replace(".", "").replace("_", "")
    RuleValidator.__doc__ = f"Lectern's rule {name}."
    return cast("type[Validator]", register_validator(name=f"course_guard/{name}", data_type="string")(RuleValidator))


def _mended(value: str, result: "FailResult") -> str:
    return value if result.fix_value is None else str(result.fix_value)


@cache
def _guardrails() -> ModuleType:
    """The library without the part that reports to its makers.

    Its setting would not do: each new Guard reads it from a file again, and a Guard may be older than this call. So there is
    no exporter at all, and what was there is forgotten. Traces to a collector of the user's own are another matter.
    """
    defer_iri_grammar()
    import guardrails
    from guardrails.utils.hub_telemetry_utils import HubTelemetry

    HubTelemetry.initialize_tracer = lambda self, *args, **kwargs: None
    HubTelemetry._instance = None
    return cast(ModuleType, guardrails)


def defer_iri_grammar() -> None:
    """Let jsonschema, which Chroma and guardrails-ai import, not compile a grammar of internationalised addresses at once.

    guardrails-ai brings rfc3987-syntax with it, whose import takes 1.3 s of nothing else. It is compiled when jsonschema
    first checks such an address, so nothing is lost. It does something only before jsonschema is imported.
    """
    if _IRI in sys.modules or (found := find_spec(_IRI)) is None:
        return
    deferred = ModuleType(_IRI, "rfc3987-syntax, imported at its first use.")

    def real() -> ModuleType:
        if sys.modules.get(_IRI) is deferred:
            del sys.modules[_IRI]
        return import_module(_IRI)

    def is_valid_syntax(term: str, value: str) -> bool:
        return bool(real().is_valid_syntax(term, value))

    deferred.is_valid_syntax = is_valid_syntax  # type: ignore[attr-defined]
    deferred.__path__ = list(found.submodule_search_locations or [])
    deferred.__getattr__ = lambda name: getattr(real(), name)  # type: ignore[method-assign]
    sys.modules[_IRI] = deferred
