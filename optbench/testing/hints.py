"""From an error's text to what its author can do about it."""

from __future__ import annotations

import re

# (what the text says, what to do); the first that fits is taken
_HINTS = (
    (
        r"has no attribute 'grad'|does not require grad",
        'ask for gradients: `loss, gradient = f.value_and_grad(x)` with x (B, D), and state needs = "grad"',
    ),
    (
        r"same dtype|expected scalar type|Found dtype|but found (Double|Float|Long|Half)|Float and Double",
        "two number types meet: a problem's data and network have the dtype that it states (that of its data if it "
        "states none), an optimizer makes its tensors with dtype=f.dtype",
    ),
    (
        r"vmap|data-dependent control flow|functorch",
        "a network that torch.vmap refuses states vmaps = False; its trials then run one by one",
    ),
    (
        r"Leaf variable|leaf Variable|modified by an inplace operation",
        "do not change points, parameters or data in place: work on a copy, x.clone()",
    ),
)


def with_hint(text: str) -> str:
    """The text of an error, followed by what to do about it where that is known."""
    for pattern, hint in _HINTS:
        if hint in text:
            return text
        if re.search(pattern, text):
            return f"{text}; {hint}"
    return text


def describe(error: BaseException) -> str:
    """Kind and text of an exception in one line, with a hint where there is one."""
    return with_hint(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
