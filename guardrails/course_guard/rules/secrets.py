"""Keys, tokens and passwords: masked before anything is remembered, and never given back.

The forms of keys are those that detect-secrets (Apache-2.0) and gitleaks (MIT) publish. They are written down here because
detect-secrets 1.5.0 tells no positions, needs quadratic time on long lines, and knows no keys younger than 2024. Randomness
counts only behind a word such as "api_key": a course is full of hashes, and of words that look random.
"""

import re
from collections import Counter
from math import log2

from course_guard.rules.personal import masked
from course_guard.verdict import Finding

_KEYS = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{2,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){20,20000}"
    r"(?:-----END [A-Z0-9 ]{3,40}-----)?"
    r"|(?<![A-Za-z0-9_-])(?:"
    r"sk-ant-[\w-]{20,200}|sk-(?:proj|svcacct|admin|or-v1)-[\w-]{20,250}|sk-[A-Za-z0-9]{32,64}"  # Anthropic, OpenAI
    r"|hf_[A-Za-z0-9]{30,50}|r8_[A-Za-z0-9]{30,50}|gsk_[A-Za-z0-9]{40,60}"  # Hugging Face, Replicate, Groq
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{40,255}|gl(?:pat|dt|ft|soat|rt|ptt|imt|agent)-[\w-]{20,255}"  # Git hosts
    r"|(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}|AIza[\w-]{35}|ya29\.[\w-]{20,500}"  # Amazon, Google
    r"|xox[abposr]-[A-Za-z0-9-]{20,250}|xapp-\d-[A-Za-z0-9-]{20,250}|[rs]k_(?:live|test)_[0-9A-Za-z]{20,250}"  # Slack, Stripe
    r"|SG\.[\w-]{22}\.[\w-]{43}|(?:AC|SK)[0-9a-f]{32}|\d{8,10}:AA[\w-]{33}"  # SendGrid, Twilio, Telegram
    r"|[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,38}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,500}|dop_v1_[0-9a-f]{64}"
    r"|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}"  # JSON Web Token
    r")(?![A-Za-z0-9_])"
    r"|(?<=hooks\.slack\.com/services/)T\w{5,20}/B\w{5,20}/\w{15,40}|(?<=AccountKey=)[A-Za-z0-9+/]{40,100}={0,2}"
)
_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/?#@:]{0,100}:(?P<it>[^\s/?#@<{$\[]{1,200})@", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?<![a-z])(?:[a-z0-9]{1,20}[_.-]){0,3}(?P<word>"
    r"passw(?:or)?d|passphrase|pwd|passcode|(?:api|auth)[_ -]?key|access[_ -]?key(?:[_ -]?id)?"
    r"|(?:service|account|db|database|priv(?:ate)?|client|encryption|signing)[_ -]?key"
    r"|secret(?:[_ -]?access)?(?:[_ -]?key)?|(?:access|auth|bearer|refresh|api|secret|session)[_ -]?token|token|authorization)"
    r"[\"'`]?(?:\s{0,3}(?::=|=>|[:=])|\s(?:is|was)\b:?)"
    r"\s{0,3}(?:bearer |basic )?(?P<quote>[\"'`]?)(?P<it>[^\s\"'`,;()\[\]{}<>$*]{4,500})(?P<end>[\"'`]?)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"(?:your|changeme|example|redacted|getenv|os\.|self\.|config\.|settings\.|args\.|x{3}|\.{3}|\*{3}"
    r"|(?:my|the|an?|some|sample|dummy|fake|test|todo|none|null|true|false|passw(?:or)?d|secret|token|hidden|env|input|optional"
    r"|str|int|bytes|string)(?![^\W_]))",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[A-Za-z]+(?:[_.-](?:[A-Za-z]+\d{0,2}|\d{1,5}))+")  # generate_random_key_32


class SecretsRule:
    """Notices API keys, tokens, private keys, and passwords in assignments and URLs.

    The finding has no `originals`: nobody needs a secret back, and what is not kept cannot leak.

    Args:
        name: "input.secrets" or "output.secrets", as policy.toml calls it.
    """

    def __init__(self, name: str = "input.secrets") -> None:
        self.name = name

    def look(self, text: str) -> Finding | None:
        found: list[tuple[str, int, int]] = []
        free = bytearray(b"\1") * len(text)
        spans = [match.span() for match in _KEYS.finditer(text)]
        spans += [match.span("it") for match in _IN_URL.finditer(text) if not _PLACEHOLDER.match(match["it"])]
        spans += [match.span("it") for match in _ASSIGNED.finditer(text) if _is_secret(match)]
        for start, end in spans:
            if free.find(0, start, end) < 0:
                free[start:end] = bytes(end - start)
                found.append(("SECRET", start, end))
        if not found:
            return None
        replacement, _ = masked(text, found)
        spans = sorted((start, end) for _, start, end in found)
        return Finding("The text contains a password, a key or a token.", tuple(spans), 1.0, replacement)


def _is_secret(match: re.Match[str]) -> bool:
    """Whether what is assigned looks chosen by a person as a password, or by a machine as a key."""
    value = match["it"].rstrip(".!?:")
    called = match.string[match.end("it") : match.end("it") + 1] in ("(", "[")
    if called or _PLACEHOLDER.match(value) or _IDENTIFIER.fullmatch(value):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w\s]"))
    if match["word"].lower().startswith(("passw", "passp", "passc", "pwd")):
        # "password = input", "the password is wrong": a word is no password unless it is quoted in an assignment.
        return kinds >= 2 and bool(re.search(r"\d|[^\w.\-/]", value)) and not re.fullmatch(r"[\d.]{1,5}", value)
    return len(value) >= 16 and kinds >= 2 and bool(re.search(r"\d", value)) and bits_per_character(value) >= 3.0


def bits_per_character(text: str) -> float:
    """Shannon entropy of the characters of `text`; detect-secrets asks for 3.0 of hexadecimal, 4.5 of base64."""
    return sum(-count / len(text) * log2(count / len(text)) for count in Counter(text).values())
