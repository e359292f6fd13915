"""What is said of an answer: Markdown, formulas, code, numbers and sources in words, and nothing left out unsaid."""

import time

import pytest

from assistant.events import Done, Dropped, Evidence, Guarded, Refusal, Sentence
from assistant.voice.speakable import SpokenAnswer, speakable
from assistant.voice.spoken_maths import UNREADABLE, spoken_formula
from course_guard.verdict import Action, Verdict
from knowledge.passage import Citation, Passage, RankedPassage

FORMULAS = [
    (r"x^2", "x squared"),
    (r"x^{3}", "x cubed"),
    (r"\sum_i x_i", "the sum over i of x sub i"),
    (r"\sum_{i=1}^{n} x_i^2", "the sum over i from 1 to n of x sub i squared"),
    (r"\sigma(x)", "sigma of x"),
    (r"\text{softmax}(QK^\top/\sqrt{d_k})", "softmax of Q K transposed over the square root of d sub k"),
    (r"\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d}}\right)V", "softmax of Q K transposed over the square root of d, V"),
    ("softmax(QKᵀ / √d)", "softmax of Q K transposed over the square root of d"),
    (r"\frac{a+b}{2}", "the quantity a plus b, over 2"),
    (r"\hat{y} = \sigma(w^\top x + b)", "y hat equals sigma of w transposed x plus b"),
    (r"\frac{\partial L}{\partial w}", "partial L over partial w"),
    (r"\mathbb{E}_{x \sim p}[f(x)]", "the expected value over x drawn from p of f of x"),
    (r"\mathbb{R}^{n \times d}", "the real numbers of dimension n by d"),
    (r"\arg\max_\theta p(y \mid x)", "arg max over theta of p of y given x"),
    (r"\nabla_\theta L", "the gradient over theta of L"),
    (r"A^{-1}", "A inverse"),
    (r"\int_0^1 f(x) dx", "the integral from 0 to 1 of f of x d x"),
    (r"\log_2 n", "log base 2 of n"),
    (r"\lim_{x \to 0} f(x)", "the limit as x goes to 0 of f of x"),
    ("O(n²)", "O of n squared"),
    ("ŷ", "y hat"),
    ("√ᾱ_t", "the square root of alpha bar sub t"),
    ("1 − tanh²(z)", "1 minus hyperbolic tangent squared of z"),
    ("P(A | B) = P(A and B) / P(B)", "P of A given B, equals P of A and B, over P of B"),
    ("KL(p ‖ q)", "K L of p against q"),
    ("‖x − x̂‖²", "the norm of x minus x hat, squared"),
    ("|w| / 127", "the absolute value of w, over 127"),
    ("(f(x + h) − f(x)) / h", "the quantity f of x plus h, minus f of x, over h"),
    ("E[X²] − E[X]²", "the expected value of X squared minus the expected value of X, squared"),
    ("z⁽ˡ⁾", "z of l"),
    ("A = U Σ Vᵀ", "A equals U capital sigma V transposed"),
    ("1 − Σ pₖ²", "1 minus the sum of p sub k squared"),
    ("w·x + b", "w dot x plus b"),
    ("D*(x)", "D star of x"),
    ("w ← w − η g", "w becomes w minus eta g"),
    ("⌊n / s⌋ + 1", "the floor of n over s, plus 1"),
    ("σ(z)(1 − σ(z))", "sigma of z times the quantity 1 minus sigma of z"),
]


@pytest.mark.parametrize(("formula", "words"), FORMULAS)
def test_formulas_are_read_out(formula, words):
    assert spoken_formula(formula) == words


@pytest.mark.parametrize(
    "formula",
    [
        r"\begin{pmatrix}1\\2\end{pmatrix}",
        r"\unknown{x}",
        "x^",
        "a_{k",
        "(a",
        "a)",
        "f()",
        "",
        r"\frac{1}",
        "^" * 300,
        "(" * 3000,
    ]
    + [" + ".join("abcdefgh" * 20)],
)
def test_what_cannot_be_read_out_is_announced(formula):
    assert spoken_formula(formula) == UNREADABLE


SENTENCES = [
    ("The score is $QK^T$ here.", "The score is Q K transposed here."),
    (r"The score is \(x^2\), or \[y_1\]", "The score is x squared, or y sub 1."),
    (r"It is $\begin{matrix}a\end{matrix}$ then.", "It is a formula that is on the page then."),
    ("It costs $5 and $6.", "It costs 5 dollars and 6 dollars."),
    ("Attention is O(n²) and x_i ≤ σ(x).", "Attention is O of n squared and x sub i is at most sigma of x."),
    ("The matrix W ∈ ℝ^{n×d}", "The matrix W in the real numbers of dimension n by d."),
    ("p < 0.05 and R² = 0.9.", "p is less than 0.05 and R squared equals 0.9."),
    ("Use `torch.no_grad()` here.", "Use the function torch dot no grad here."),
    ("Use the function `torch.no_grad()` here.", "Use the function torch dot no grad here."),
    ("Call the `backward()` method.", "Call the backward method."),
    ("Set `n_init` and `sublinear_tf=True`.", "Set n init and sublinear tf equals True."),
    ("See `assistant/models.toml` or notes.pdf.", "See assistant slash models dot toml or notes dot P D F."),
    ("The variance is `1 − Σ pₖ²`.", "The variance is 1 minus the sum of p sub k squared."),
    ("Run `lectern say --list`.", "Run lectern say dash dash list."),
    (f"Run `{'a=>b;' * 9}`.", "Run a piece of code that is on the page."),
    ("```python\nx = 1\ny = 2\n```", "There is Python code on the page, two lines."),
    ("```\nx\n", "There is code on the page, one line."),
    ("```python\nprint('$5$ [1]')\n```", "There is Python code on the page, one line."),
    ("| a | b |\n|---|---|\n| 1 | 2 |", "There is a table on the page, two rows."),
    ("1. **One** thing\n2. Two [links](http://x.y)", "First: One thing. Second: Two links."),
    ("11. Eleven", "Number 11: Eleven."),
    ("- a cat\n- a dog", "a cat. a dog."),
    ("## KV cache", "K V cache."),
    ("> *quoted* ~~text~~", "quoted text."),
    ("![a cat](c.png)", "a picture that is on the page: a cat."),
    ("See [1] and [2][3].", "See source one and sources two and three."),
    ("Units are dropped.[1]", "Units are dropped. Source one."),
    ("Units are dropped [2].", "Units are dropped, source two."),
    ("The list x[1] and [1, 3].", "The list x[1] and [1, 3]."),
    ("See https://a.b/c?d=1 now.", "See a link now."),
    ("Some, e.g. this, i.e. that vs. those, etc.", "Some, for example this, that is that versus those, and so on."),
    ("See Fig. 3, eq. 2 and pp. 3-5.", "See Figure 3, Equation 2 and pages 3 to 5."),
    ("20% of 3.5 GB in 10-20 ms", "20 percent of 3.5 gigabytes in 10 to 20 milliseconds."),
    ("A 7B model, lr of 2e-5, ~1 s.", "A 7 billion model, lr of 2 times 10 to the power minus 5, about 1 second."),
    ("On 2024-05-01 and ISO 639-1.", "On 2024-05-01 and ISO 639-1."),
    ("A 3×3 kernel is 10× faster.", "A 3 by 3 kernel is 10 times faster."),
    ("BM25, KV, LoRA, GGUF, RAG.", "B M 25, K V, Lora, G G U F, rag."),
    ("GPUs and LLMs run GPT-4, NOT T5.", "GPU's and L L M's run G P T 4, not T 5."),
    ("Good 🙂 work ✅", "Good work."),
    ("A & B, x → y", "A and B, x goes to y."),
    ("The token <s> and a<br>break", "The token less than s greater than and a break."),
    ("Le café où naïve Müller va.", "Le café où naïve Müller va."),
    ("注意力机制。", "注意力机制。."),
    ("", ""),
    ("🙂 ...", ""),
]


@pytest.mark.parametrize(("markdown", "words"), SENTENCES)
def test_markdown_becomes_words(markdown, words):
    assert speakable(markdown) == words


@pytest.mark.parametrize(
    "piece", ["(", "$", "`", "[1]", "a_b ", "f(x) ", "1.1-", "\\(", "*a ", "α", "a.", "a/", "|", "σ((", "- "]
)
def test_no_text_takes_long(piece):
    started = time.process_time()
    speakable(piece * (4000 // len(piece)))
    assert time.process_time() - started < 2


def sentence(text, *numbers, lead="", title="LoRA and adapters", source="course/28.md"):
    passage = Passage("p", "d", "s", source, title, (), None, None, 0, 4, "text", 1)
    return Sentence(text, lead, tuple(Citation(number, passage, "text", 0, 4) for number in numbers), 0.9)


def test_a_source_is_named_the_first_time():
    answer = SpokenAnswer()
    assert answer.words(sentence("Ranks are low.", 2)) == "Ranks are low. Source two, lesson on Lora and adapters."
    assert answer.words(sentence("They are.", 2)) == "They are. Source two."
    assert answer.words(sentence("Both.", 2, 1, 1)) == "Both. Source two; source one."
    assert answer.named == {1, 2}
    assert SpokenAnswer().words(sentence("So.", 2)) == "So. Source two, lesson on Lora and adapters."


def test_where_the_answer_is_looked_for_is_said_first_and_not_again():
    answer = SpokenAnswer()
    ranked = RankedPassage(sentence("", 1).citations[0].passage, 0.03, 0.7)
    assert answer.words(Evidence((ranked,), "q", 1.0)) == "Looking in the lesson on Lora and adapters."
    assert answer.words(sentence("Ranks are low.", 2)) == "Ranks are low. Source two."
    other = sentence("So.", 3, title="notes.pdf", source="/home/notes.pdf")
    assert answer.words(other) == "So. Source three, notes dot P D F."
    assert answer.words(sentence("They are.", 1)) == "They are. Source one, lesson on Lora and adapters."
    notes = RankedPassage(other.citations[0].passage, 0.03, 0.7)
    assert SpokenAnswer().words(Evidence((notes,), "q", 1.0)) == "Looking in notes dot P D F."
    assert SpokenAnswer().words(Evidence((), "q", 1.0)) == ""


def test_of_a_lesson_the_part_before_the_colon_is_said():
    assert (
        SpokenAnswer().words(sentence("So.", 1, title="Preferences: RLHF and DPO")) == "So. Source one, lesson on Preferences."
    )
    notes = sentence("So.", 1, title="Notes: week 2", source="/home/notes.md")
    assert SpokenAnswer().words(notes) == "So. Source one, Notes: week 2."


def test_another_document_is_named_without_lesson():
    said = SpokenAnswer().words(sentence("So.", 3, title="notes.pdf", source="/home/notes.pdf"))
    assert said == "So. Source three, notes dot P D F."


def test_the_lead_of_a_list_is_said():
    assert SpokenAnswer().words(sentence("Load it.", lead="\n2. ")) == "Second: Load it."


def test_a_table_that_comes_row_by_row_is_announced_once_and_its_sources_are_named():
    answer = SpokenAnswer()
    said = [answer.words(sentence(row, 1)) for row in ("| a | b |", "|---|---|", "| 1 | 2 |")]
    assert said == ["There is a table on the page. Source one, lesson on Lora and adapters.", "", ""]
    assert answer.words(sentence("After it.")) == "After it."
    assert answer.words(sentence("| c | d |")) == "There is a table on the page."


def test_refusals_and_warnings_are_spoken_and_the_rest_is_not():
    answer = SpokenAnswer()
    refusal = Refusal("not_covered", "The course does not cover this.", ("KV cache", "BERT", "T5"))
    said = "The course does not cover this. The nearest topics that it does cover: K V cache, Bert and T 5."
    assert answer.words(refusal) == said
    assert answer.words(Refusal("x", "No.", ("BERT",))) == "No. The nearest topics that it does cover: Bert."
    warned = Verdict(True, "distress", "Be kind to yourself", (), Action.WARN, 0.9)
    assert answer.words(Guarded((warned,), "q")) == "Be kind to yourself."
    assert answer.words(Dropped("A claim.", "unsupported")) == ""
    assert answer.words(Done("t", "", "m", False, 0, 0, 0, {})) == ""
