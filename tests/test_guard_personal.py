"""Personal data: masked and put back; what merely looks like it stays."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_guard.rules.personal import PersonalDataRule, masked, restored
from course_guard.rules.personal_forms import luhn

RULE = PersonalDataRule()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to anna.berg+ml@uni-somewhere.de today", "Write to [EMAIL_1] today"),
        ("a@b.org, c@d.org and again a@b.org", "[EMAIL_1], [EMAIL_2] and again [EMAIL_1]"),
        ("https://anna:geheim7@host.org/x", "https://[LOGIN_1]@host.org/x"),
        ("my card 5500 0000 0000 0004!", "my card [CARD_1]!"),
        ("IBAN DE02 1203 0000 0000 2020 51 please", "IBAN [IBAN_1] please"),
        ("iban gb42nawi04454264788619", "iban [IBAN_1]"),
        ("my SSN is 494-33-0748", "my SSN is [ID_1]"),
        ("CPF 529.982.247-25", "CPF [ID_1]"),
        ("DNI 87654321X", "DNI [ID_1]"),
        ("hetu 131052-308T", "hetu [ID_1]"),
        ("personnummer 811218-9876", "personnummer [ID_1]"),
        ("id 11010519491231002X", "id [ID_1]"),
        ("My matriculation number is 4711123.", "My matriculation number is [ID_1]."),
        ("I connect from 58.74.121.78", "I connect from [IP_1]"),
        ("2a00:1450:4001:81b::200e is my address", "[IP_1] is my address"),
        ("+49 30 901820 rings", "[PHONE_1] rings"),
        ("try 212-736-5000 or 0487 98 11 92", "try [PHONE_1] or [PHONE_2]"),
        ("call me on 9472 7916", "call me on [PHONE_1]"),
    ],
)
def test_personal_data_is_masked_and_put_back(text, expected):
    finding = RULE.look(text)
    assert finding.replacement == expected
    assert restored(finding.replacement, finding.originals) == text
    assert {text[start:end] for start, end in finding.spans} == {original for _, original in finding.originals}


@pytest.mark.parametrize(
    "text",
    [
        "192.168.0.1 is a private address, 8.8.8.8 a resolver, and 172.217.3.110 an address of class B",
        "I use version 45.20.30.40 of it",
        "pi is 3.14159265358979 and e is 2.718281828459045",
        "ISBN 978-3-16-148410-0, arXiv 2005.11401v4, doi 10.1000/182",
        "a shape of (128, 256, 512, 1024), or 128 256 512 1024 2048 4096",
        "call the model with 1024 2048 4096 tokens",
        "2147483647, 4294967296 and 1 000 000 000",
        "scores = q@k.transpose(1, 2) and A@B.T",
        "from 1999-12-31 to 31.12.2024 12:30:45, call me on 2024-05-17",
        "bits 0 1 1 0 1 0 0 1, and 00 01 10 11 00 01",
        "LeCun (1998) 86 11 2278 and Neural Computation 12 (10) 2451-2471",
        "mobile net has 4 200 000 parameters, and messages to 1000000 users",
        "std::vector, torch::nn::Linear, my 10:20:30",
        "mail me@example.com or git@github.com:course/code",
        "the Luhn check of 4111 1111 1111 1111 and the IBAN GB29 NWBK 6016 1331 9268 19",
        "Marie Curie, Alan Turing and Geoffrey Hinton",
        "",
    ],
)
def test_numbers_of_a_course_are_no_personal_data(text):
    assert RULE.look(text) is None


def test_placeholders_of_the_text_itself_are_not_taken():
    finding = RULE.look("[EMAIL_3] and a@b.org")
    assert finding.replacement == "[EMAIL_3] and [EMAIL_4]"
    assert restored(finding.replacement, finding.originals) == "[EMAIL_3] and a@b.org"


def test_what_is_put_back_is_not_read_again():
    assert restored("[A_1] [A_2]", [("[A_1]", "[A_2]"), ("[A_2]", "x")]) == "[A_2] x"
    assert restored("[EMAIL_1]", []) == "[EMAIL_1]"


def test_check_digits():
    assert luhn("79927398713")
    assert not luhn("79927398710")
    assert RULE.look("my card 5500 0000 0000 0005") is None
    assert RULE.look("IBAN DE03120300000000202051") is None


def test_reason_tells_what_was_found():
    assert RULE.look("a@b.org and 212-736-5000").reason == (
        "The text contains personal data: an e-mail address, a telephone number."
    )
    assert PersonalDataRule("output.personal").name == "output.personal"


@given(st.text(st.sampled_from("a1@.+- ():/[]_éx0"), max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back(text):
    if finding := RULE.look(text):
        assert restored(finding.replacement, finding.originals) == text


@given(st.text(max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_masking_any_span_can_be_undone(text, one, other):
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    assert restored(*masked(text, [("X", start, end)])) == text


@pytest.mark.parametrize("bomb", ["a@", "12 ", "(0", "+1 ", "DE02 ", "http://a:", "tel (", "a:", "0123-45-", "student number "])
def test_time_is_linear(bomb):
    text = bomb * (1_000_000 // len(bomb))
    started = time.process_time()
    RULE.look(text)
    assert time.process_time() - started < 20
