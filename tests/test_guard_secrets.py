"""Secrets: masked for good; code and talk about secrets stay."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_guard.rules.secrets import SecretsRule, bits_per_character

RULE = SecretsRule()
MIXED = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use sk-ant-api03-" + MIXED, "use [SECRET_1]"),
        ("use sk-proj-" + MIXED, "use [SECRET_1]"),
        ("hf_" + MIXED[:34], "[SECRET_1]"),
        ("ghp_" + MIXED[:36] + " and ghp_" + MIXED[:36], "[SECRET_1] and [SECRET_1]"),
        ("AKIA" + "Z7" * 8, "[SECRET_1]"),
        ("AIza" + MIXED[:35], "[SECRET_1]"),
        ('password = "hunter2"', 'password = "[SECRET_1]"'),
        ("My password is Tr0ub4dor&3, is it safe?", "My password is [SECRET_1], is it safe?"),
        ('{"client_secret": "a8F3kd93jf02Kdk3"}', '{"client_secret": "[SECRET_1]"}'),
        ("HF_TOKEN=abcd1234efgh5678ijkl", "HF_TOKEN=[SECRET_1]"),
        ("postgres://admin:s3cr3t!@db.org/x", "postgres://admin:[SECRET_1]@db.org/x"),
        ("Authorization: Bearer eyJhbGciOiJI.eyJzdWIiOiIx.dozjgNryP4J3", "Authorization: Bearer [SECRET_1]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7abcd\n-----END RSA PRIVATE KEY-----\nbye", "[SECRET_1]\nbye"),
    ],
)
def test_secrets_are_masked_for_good(text, expected):
    finding = RULE.look(text)
    assert finding.replacement == expected
    assert finding.originals == ()
    assert not any(secret in finding.reason for secret in (text[start:end] for start, end in finding.spans))
    assert RULE.look(finding.replacement) is None


@pytest.mark.parametrize(
    "text",
    [
        "What is a password, and why is the password wrong?",
        "The secret is to use dropout. Secret sauce: attention.",
        'password = input("password: ")',
        "password: Optional[str] = None",
        "token = tokenizer.decode(ids)",
        "token: 50256, next_token = torch.argmax(logits[:, -1])",
        "the token is sentencepiece_unigram_v1_model",
        "secret_key = generate_random_key_32()",
        'api_key = os.environ["OPENAI_API_KEY"]',
        'api_key = "YOUR_API_KEY_1234567890"',
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        'Why is "password123" a weak password?',
        "SELECT * FROM users WHERE password = '' OR 1=1",
        "https://user:password@host.org",
        "A PEM file begins with -----BEGIN PRIVATE KEY----- and is text.",
        "task-specific-representation-learning in sk-learn",
    ],
)
def test_talk_and_code_about_secrets_pass(text):
    assert RULE.look(text) is None


def test_entropy():
    assert bits_per_character("aaaa") == 0
    assert bits_per_character("abcd") == 2


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_text_crashes(text):
    if finding := RULE.look(text + " password=" + text):
        assert finding.replacement


@pytest.mark.parametrize(
    "bomb", ["_", "a_", "password=", "eyJaaaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "http://a:", "sk-", "1", " "]
)
def test_time_is_linear(bomb):
    text = bomb * (1_000_000 // len(bomb))
    started = time.process_time()
    RULE.look(text)
    assert time.process_time() - started < 20
