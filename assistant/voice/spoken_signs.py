"""Names of mathematical signs, for spoken_maths.py: LaTeX commands as the Unicode sign they stand for, signs as words."""

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta", "ι": "iota",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ο": "omicron", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip

NAMES = _GREEK | {sign.upper(): f"capital {name}" for sign, name in _GREEK.items()}
NAMES |= {
    "ξ": "zye",  # engines read "xi" as the Roman number
    "ς": "sigma", "ϕ": "phi", "ϵ": "epsilon", "ϑ": "theta", "ℓ": "l", "∞": "infinity", "ℝ": "the real numbers",
    "ℤ": "the integers", "ℕ": "the natural numbers", "∅": "the empty set", "…": "and so on", "⋯": "and so on",
    "½": "one half", "⅓": "one third", "¼": "one quarter", "¾": "three quarters", "𝟙": "one",
}  # fmt: skip
"""Signs that stand for a thing."""

OPERATORS = {
    "=": "equals", "≠": "is not equal to", "≈": "is about", "≃": "is about", "≡": "is identical to", "≔": "is defined as",
    "<": "is less than", ">": "is greater than", "≤": "is at most", "≥": "is at least", "≪": "is much less than",
    "≫": "is much greater than", "+": "plus", "-": "minus", "−": "minus", "–": "minus", "±": "plus or minus",
    "∓": "minus or plus", "×": "times", "·": "times", "⋅": "times", "*": "times", "@": "times", "⊙": "element by element times",
    "∘": "composed with", "⊗": "tensor", "⊕": "plus", "/": "over", "÷": "divided by", "∈": "in", "∉": "not in",
    "⊂": "inside", "⊆": "inside", "∪": "united with", "∩": "intersected with", "∖": "without", "→": "goes to", "⟶": "goes to",
    "↦": "maps to", "←": "becomes", "⇒": "implies", "⟹": "implies", "⇔": "if and only if", "∝": "is proportional to",
    "~": "is drawn from", "∼": "is drawn from", "≻": "is preferred to", "≺": "is less preferred than", "⊥": "is independent of",
    "∧": "and", "∨": "or", "¬": "not", "∀": "for all", "∃": "there is", "∣": "given", ":": "such that", ";": ",", ",": ",",
    "∂": "partial", "%": "percent", "!": "factorial", "′": "prime", "'": "prime", "°": "degrees", "&": "and",
}  # fmt: skip
"""Signs that stand between things, or change one."""

BIG = {"∑": "the sum", "∏": "the product", "∫": "the integral", "∇": "the gradient", "⋃": "the union", "⋂": "the intersection"}
"""Signs that reach over what follows; a subscript says over what."""

FUNCTIONS = {
    "min": "the minimum", "max": "the maximum", "argmin": "arg min", "argmax": "arg max", "lim": "the limit",
    "sup": "the supremum", "inf": "the infimum", "log": "log", "ln": "natural log", "exp": "exp", "sin": "sine",
    "cos": "cosine", "tan": "tangent", "sinh": "hyperbolic sine", "cosh": "hyperbolic cosine",
    "tanh": "hyperbolic tangent", "det": "the determinant", "tr": "the trace", "rank": "rank", "dim": "the dimension",
    "diag": "diagonal", "Var": "the variance", "Cov": "the covariance", "softmax": "softmax", "sigmoid": "sigmoid",
    "relu": "relu", "ReLU": "relu", "gelu": "gelu", "GELU": "gelu", "sign": "sign", "concat": "concatenate",
    "mean": "mean", "std": "standard deviation", "round": "round", "arg": "arg", "Pr": "the probability",
}  # fmt: skip

ACCENTS = {
    "\u0302": "hat", "\u0304": "bar", "\u0305": "bar", "\u0303": "tilde", "\u0307": "dot", "\u0308": "double dot",
    "\u20d7": "vector", "\u0301": "", "\u0300": "", "\u0327": "",
}  # fmt: skip
"""Combining marks; those of ordinary letters say nothing."""

COMMANDS = {name: sign for sign, name in _GREEK.items()} | {name.capitalize(): sign.upper() for sign, name in _GREEK.items()}
COMMANDS |= {
    "varepsilon": "ε", "varphi": "φ", "vartheta": "θ", "ell": "ℓ", "infty": "∞", "emptyset": "∅", "dots": "…", "ldots": "…",
    "cdots": "…", "neq": "≠", "ne": "≠", "approx": "≈", "equiv": "≡", "lt": "<", "gt": ">", "leq": "≤", "le": "≤", "geq": "≥",
    "ge": "≥", "ll": "≪", "gg": "≫", "pm": "±", "mp": "∓", "times": "×", "cdot": "·", "ast": "*", "odot": "⊙", "circ": "∘",
    "otimes": "⊗", "oplus": "⊕", "div": "÷", "in": "∈", "notin": "∉", "subset": "⊂", "subseteq": "⊆", "cup": "∪", "cap": "∩",
    "setminus": "∖", "to": "→", "rightarrow": "→", "longrightarrow": "→", "mapsto": "↦", "leftarrow": "←", "gets": "←",
    "Rightarrow": "⇒", "implies": "⇒", "iff": "⇔", "Leftrightarrow": "⇔", "propto": "∝", "sim": "∼", "succ": "≻", "prec": "≺",
    "perp": "⊥", "land": "∧", "wedge": "∧", "lor": "∨", "neg": "¬", "forall": "∀", "exists": "∃", "mid": "∣", "partial": "∂",
    "nabla": "∇", "sum": "∑", "prod": "∏", "int": "∫", "bigcup": "⋃", "bigcap": "⋂", "prime": "′", "top": "⊤", "intercal": "⊤",
    "colon": ":", "lvert": "|", "rvert": "|", "vert": "|", "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "lfloor": "⌊",
    "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "langle": "(", "rangle": ")", "{": "[", "}": "]", "%": "%", "&": "and", "#": "#",
    "coloneqq": "≔", "dagger": "†", "star": "*",
}  # fmt: skip
"""LaTeX commands that stand for one sign."""

ACCENT_COMMANDS = {
    "hat": "hat", "widehat": "hat", "bar": "bar", "overline": "bar", "tilde": "tilde", "widetilde": "tilde", "dot": "dot",
    "ddot": "double dot", "vec": "vector",
}  # fmt: skip

PLAIN_COMMANDS = frozenset({
    "left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "bigg", "Bigg", "displaystyle", "textstyle", "limits",
    "nolimits", "mathrm", "mathbf", "mathit", "mathsf", "mathcal", "boldsymbol", "bm", "bf", "rm", "operatorname", "mathop",
})  # fmt: skip
"""LaTeX commands that only say how things look; what they are about follows them."""

SPACES = frozenset({"\\,", "\\;", "\\:", "\\!", "\\ ", "\\quad", "\\qquad"})
