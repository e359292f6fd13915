"""The forms of personal data: one with a check of its own counts anywhere, a bare number only after words that say so."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from ipaddress import ip_address

_SEPARATORS = re.compile(r"[\s().+-]")
_NOBODYS = frozenset({  # examples that standards, registries and payment providers publish
    "4111111111111111", "4242424242424242", "4012888888881881", "5555555555554444", "5105105105105100", "378282246310005",
    "371449635398431", "6011111111111117", "30569309025904", "3530111333300000", "4000000000000002", "79927398713",
    "GB29NWBK60161331926819", "GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606",
    "NL91ABNA0417164300", "123456789", "078051120", "219099999", "12345678Z", "QQ123456C", "RSSMRA85T10A562S", "12345678909",
    "8888", "8844", "1111", "1001", "9999",  # public resolvers of names
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """One form: what the pattern's group "it" holds (or all of it) counts where the check agrees.

    Attributes:
        label: of the placeholder.
        words: for the reader, with an article.
        pattern: costs time linear in the text.
        check: of a match.
    """

    label: str
    words: str
    pattern: re.Pattern[str]
    check: Callable[[re.Match[str]], bool] = lambda match: True

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Half-open character spans in `text`, in order."""
        group = "it" if "it" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            if _SEPARATORS.sub("", match[group]).upper() not in _NOBODYS and self.check(match):
                yield match.span(group)


# What people write to, and what they write from

# The last part of people's addresses, because Python such as `q@k.transpose(1, 2)` has their form, too.
_ENDINGS = "com|org|net|edu|gov|mil|int|info|biz|name|pro|app|dev|online|site|club|cloud|mail|email|tech|academy|university"
_RESERVED = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)$", re.IGNORECASE)  # RFC 2606
_EMAIL = re.compile(
    r"(?<![\w.%+/-])(?!\.|(?:git|hg|no-?reply)@)[\w.%+-]{1,64}(?<!\.)@(?P<domain>(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,6}"
    rf"(?:{_ENDINGS}|xn--[a-z0-9-]{{2,59}}|[a-z]{{2}}))(?![\w(\[@-]|\.\w)",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://(?P<it>[^\s/?#@:\[\]]{1,100}:[^\s/?#@]{1,200})@", re.IGNORECASE)
_IP = re.compile(
    r"(?<![\w.:-])(?<!version )(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)"
    r"|(?=[0-9a-f]*:)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:]))",
    re.IGNORECASE,
)
_OWNER = re.compile(
    r"(?<![a-z])(?:i|my|me|our|your|his|her|their|users?|clients?|students?|visitors?|home|log(?:in|ged)?)(?![a-z])",
    re.IGNORECASE,
)
_NEAR = 60  # characters around an IP address in which its owner is looked for


def _is_persons_ip(match: re.Match[str]) -> bool:
    try:
        address = ip_address(match[0])
    except ValueError:
        return False
    return address.is_global and bool(_OWNER.search(match.string, max(0, match.start() - _NEAR), match.end() + _NEAR))


# Numbers

_WHOLE, _CUT = r"(?<![\w.@+/-])", r"(?![\w@-]|[.,]\d)"  # not part of a longer number, name, path or formula
_CALLABLE = r"\+?\(?\d(?:[ .\-/]?[()]?[ ]?\d){5,17}(?:\s?(?:x|ext\.?)\s?\d{1,6})?"
_INTERNATIONAL = re.compile(r"(?<![\w+])\+\d(?:[ .()/-]{0,2}\d){7,14}(?![\w@]|[.,]\d)")
_CALLED = re.compile(
    r"\b(?:(?P<sure>(?:tele)?phone|tel|mobile|cell(?:ular)?[ -]?(?:phone|number|no)|fax|whatsapp"
    r"|(?:call|ring|phone|dial|reach|text|contact)\s(?:me|us|him|her|them))"
    r"|messages? to|registered|call|dial|contact|sms|number (?:is|was))"
    rf"\b\W{{0,4}}(?:(?:on|at|is|was|to|my|number|no|nr|phone|mobile|home|work)\b\W{{0,4}}){{0,3}}(?<![(+])(?P<it>{_CALLABLE}){_CUT}",
    re.IGNORECASE,
)
_GROUPED = re.compile(  # as North Americans write it (but not the 555-01xx of films), or with the trunk prefix 0
    rf"{_WHOLE}(?:(?:\+?1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])(?!555[-.]01)[2-9]\d\d[-.]\d{{4}}(?:x\d{{1,6}})?"
    rf"|(?:0[1-9]\d{{1,3}}|\(0[1-9]\d{{0,3}}\))(?:[ -]\d{{2,4}}){{2,4}}){_CUT}"
)
_CARD = re.compile(rf"{_WHOLE}\d(?:[ -]?\d){{11,18}}{_CUT}")
_CARD_RANGES = re.compile(  # first digits and lengths that issuers use (ISO/IEC 7812, the list of IIN ranges)
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|35\d{14}|(?:2131|1800)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}"
)
_CARD_WORD = re.compile(r"(?<![a-z])(?:cards?|cc|visa|maestro|mastercard|amex)(?![a-z])[^\d]{0,20}\Z", re.IGNORECASE)
_IBAN = re.compile(  # in one piece, or in groups of four of which words that follow are none
    rf"{_WHOLE}[a-z]{{2}}\d\d(?:[a-z0-9]{{11,30}}"
    rf"| [a-z0-9]{{4}}(?: (?=[a-z]{{0,3}}\d)[a-z0-9]{{4}}){{2,6}}(?: \d[a-z0-9]{{0,2}})?)(?!\w)",
    re.IGNORECASE | re.ASCII,
)
_LABELLED = re.compile(
    r"\b(?:(?:student|matriculation|matric|enrol?ment|candidate|passport|driv\w{1,4}['’]?s? licen[cs]e"
    r"|social (?:security|insurance)|national (?:insurance|identity)|insurance|tax(?:payer)?|identity"
    r"|employee|staff|patient|account|nhs|aadhaar)"
    r"(?:['’]s)?\s(?:identity |identification |id |card |reg(?:istration)? )?(?:id|numbers?|no\.?|nr\.?|#|code)"
    r"|ssn|pesel|matrikelnummer|steuer-?id)(?!\w)"
    r"(?:\s(?:is|was)\b)?[\s:=#-]{0,4}(?P<it>[a-z]{0,3}[- ]?\d(?:[-/.]?[\da-z]){5,18})(?!\w)",
    re.IGNORECASE,
)


def _digits(text: str) -> str:
    return "".join(character for character in text if character in "0123456789")


def luhn(number: str) -> bool:
    """Whether the digits in `number` end in their check digit (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in reversed(_digits(number))]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def _is_dialled(match: re.Match[str]) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(match[0]))
    except phonenumbers.NumberParseException:
        return False


def _is_called(match: re.Match[str]) -> bool:
    number = match["it"]
    if not 7 <= len(_digits(number)) <= 15 or re.fullmatch(r"\d{4}-\d\d-\d\d", number):
        return False
    # After a word that may mean anything, "1 000 000" is a count: a telephone number begins with 0 or has other groups.
    return bool(match["sure"]) or not re.fullmatch(r"[1-9]\d*(?:[ .]\d{3})*", number)


def _is_card(match: re.Match[str]) -> bool:
    if not luhn(match[0]):
        return False
    before = match.string[max(0, match.start() - 30) : match.start()]
    return bool(_CARD_RANGES.fullmatch(_digits(match[0])) or _CARD_WORD.search(before))


def _is_iban(match: re.Match[str]) -> bool:
    compact = match[0].replace(" ", "")
    return len(compact) >= 15 and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1  # ISO 13616


# Identity numbers that carry their own check


def _is_date(digits: str) -> bool:
    try:
        return 1900 <= date.fromisoformat(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}").year < 2100
    except ValueError:
        return False


def _is_spanish(match: re.Match[str]) -> bool:
    number = match[0].replace("-", "")
    return number[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number[:-1].translate(str.maketrans("XYZ", "012"))) % 23]


def _is_brazilian(match: re.Match[str]) -> bool:
    digits = [int(digit) for digit in _digits(match[0])]
    sums = (sum((n + 1 - i) * digits[i] for i in range(n)) * 10 % 11 % 10 for n in (9, 10))
    return tuple(sums) == tuple(digits[9:]) and len(set(digits)) > 1


def _is_chinese(match: re.Match[str]) -> bool:
    weighted = sum(int(digit) * pow(2, 17 - n, 11) for n, digit in enumerate(match[0][:17]))  # GB 11643-1999
    return _is_date(match[0][6:14]) and match[0][17] == "10X98765432"[weighted % 11]


def _identity(pattern: str, check: Callable[[re.Match[str]], bool] = lambda match: True) -> Form:
    return Form("ID", "an identity number", re.compile(rf"{_WHOLE}{pattern}{_CUT}", re.ASCII), check)


FORMS = (
    Form("LOGIN", "a log-in in a URL", _LOGIN),
    Form("EMAIL", "an e-mail address", _EMAIL, lambda match: not _RESERVED.search(match["domain"])),
    Form("IBAN", "a bank account number", _IBAN, _is_iban),
    Form("CARD", "a card number", _CARD, _is_card),
    _identity(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}"),  # social security number, USA: it has no check digit
    _identity(
        r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"
    ),  # national insurance, UK
    _identity(r"[A-Z]{6}\d\d[ABCDEHLMPRST]\d\d[A-Z]\d{3}[A-Z]"),  # codice fiscale, Italy
    _identity(r"(?:\d{8}|[XYZ]-?\d{7})-?[A-Z]", _is_spanish),  # DNI and NIE
    _identity(r"\d{3}\.\d{3}\.\d{3}-\d\d", _is_brazilian),  # CPF
    _identity(r"\d{17}[\dX]", _is_chinese),
    _identity(  # henkilötunnus, Finland
        r"\d{6}[-+A]\d{3}[0-9A-Y]",
        lambda match: match[0][-1] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(match[0][:6] + match[0][7:10]) % 31],
    ),
    _identity(r"\d{6}[-+]\d{4}", lambda match: _is_date(f"19{match[0][:6]}") and luhn(match[0])),  # personnummer, Sweden
    _identity(  # numéro de sécurité sociale, France
        r"[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?\d\d ?\d{3} ?\d{3} ?\d\d",
        lambda match: int(_digits(match[0])[13:]) == 97 - int(_digits(match[0])[:13]) % 97,
    ),
    Form("ID", "an identity number", _LABELLED),
    Form("IP", "an IP address", _IP, _is_persons_ip),
    Form("PHONE", "a telephone number", _INTERNATIONAL, _is_dialled),
    Form("PHONE", "a telephone number", _GROUPED, lambda match: len(_digits(match[0].split("x")[0])) in (10, 11)),
    Form("PHONE", "a telephone number", _CALLED, _is_called),
)
