"""Combinations of optimizers: `A + B` on different parameters, `W(A)` for a wrapper, `A{ndim=2}` for a rule.

    combination = part { " + " part }          the first part takes what it can, the next what is left
    part        = head [ "(" part ")" ] [ "{" rule "}" ]
    head        = a spec as it stands without combinations: name or name[key=value,...]
    rule        = key=value {, key=value}      keys: name, ndim ("2+": two or more), layer, place; `!` negates

This module reads the notation; `specs.parse` reads the heads. Examples are Muon on hidden matrices with AdamW on the
rest (Jordan et al. 2024), and SAM around a base optimizer (Foret et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optbench.core.trial import RequestError
from optbench.optimizers.gradient.rules import NO_RULE, Rule, rule

MAX_DEPTH = 3  # wrappers around one base
MAX_PARTS = 8  # optimizers side by side
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Part:
    """One optimizer of a combination: what was written for it, the base that it wraps, and its rule."""

    head: str
    base: Part | None = None
    rule: Rule = NO_RULE

    def heads(self) -> Iterator[str]:
        """What was written for the wrapper, then for what it wraps."""
        yield self.head
        if self.base:
            yield from self.base.heads()

    def written(self, heads: Iterator[str]) -> str:
        """The part with other heads, taken one by one."""
        head = next(heads)
        return head + (f"({self.base.written(heads)})" if self.base else "") + str(self.rule)


def is_combination(text: str) -> bool:
    """Whether this is more than `name` or `name[...]`."""
    text = text.strip()
    return len(_parts(f"{text} ")) > 1 or _opening(text, "(") is not None or _opening(text, "{") is not None


def check_closed(text: str) -> None:
    """Raises RequestError with the corrected notation for brackets that do not close and a `+` with nothing beside."""
    bare = text.strip()
    for opening, closing in _CLOSING.items():
        if bare.count(opening) != bare.count(closing):
            shown = {"(": "WRAPPER(BASE)", "[": "NAME[key=value]", "{": "NAME{ndim=2}"}[opening]
            wrong = opening if bare.count(opening) > bare.count(closing) else closing
            raise RequestError(f"{text!r} has a {wrong!r} that does not pair: write {shown}")
    if bare.startswith("+ ") or bare.endswith(" +"):
        raise RequestError(f"{text!r} has a part without a name: write A[lr=0.01] + B[lr=0.001]")


def read(text: str) -> tuple[Part, ...]:
    """The parts of a combination. Raises RequestError with the corrected notation."""
    texts = _parts(f"{text.strip()} ")
    if len(texts) > MAX_PARTS:
        raise RequestError(f"{text!r} has {len(texts)} parts, at most {MAX_PARTS}: write A + B")
    parts = tuple(_part(piece, text, 0) for piece in texts)
    for k, part in enumerate(parts):
        if part.rule and part.rule in [other.rule for other in parts[:k]]:
            raise RequestError(
                f"{text!r} gives two parts the rule {part.rule}, the second is left with nothing: "
                f"write {parts[0].head}{part.rule} + {part.head}"
            )
    return parts


def written(parts: Sequence[Part], heads: Iterator[str]) -> str:
    """The combination with other heads, taken one by one: what `read` reads."""
    return " + ".join(part.written(heads) for part in parts)


def _part(text: str, whole: str, depth: int) -> Part:
    text, found = text.strip(), NO_RULE
    if depth > MAX_DEPTH:
        raise RequestError(f"{whole!r} nests more than {MAX_DEPTH} wrappers: write WRAPPER(BASE)")
    start = _opening(text, "{")
    if start is not None:
        try:
            found = rule(text[start + 1 : -1])
        except ValueError as error:
            raise RequestError(f"{whole!r}: {error}") from None
        text = text[:start].strip()
        if _opening(text, "{") is not None:
            raise RequestError(f"{whole!r} has two rules for one part: write conditions as one, {{ndim=2,place=!last}}")
        if depth:
            raise RequestError(f"{whole!r}: a rule belongs to the wrapper, write WRAPPER(BASE){found}")
    base = None
    start = _opening(text, "(")
    if start is not None:
        inner, text = text[start + 1 : -1].strip(), text[:start].strip()
        if not inner:
            raise RequestError(f"{whole!r}: {text} wraps nothing, write {text}(adamw[lr=0.001])")
        if len(_parts(inner)) > 1:
            raise RequestError(f"{whole!r}: {text} wraps one base, write {text}(A) + B")
        base = _part(inner, whole, depth + 1)
    if not text:
        raise RequestError(f"{whole!r} has a part without a name: write A[lr=0.01] + B[lr=0.001]")
    if text[-1] in "({":
        raise RequestError(f"{whole!r} does not close {text[-1]!r}: write WRAPPER(BASE) or NAME{{ndim=2}}")
    return Part(text, base, found)


def _parts(text: str) -> list[str]:
    """The text cut at every " + " that stands in no bracket."""
    depth, start, out = 0, 0, []
    for k, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and text[k : k + 3] == " + ":
            out.append(text[start:k])
            start = k + 3
    return [*out, text[start:]]


def _opening(text: str, kind: str) -> int | None:
    """Where the bracket of this kind opens that closes at the end of the text; None where it ends otherwise."""
    if not text.endswith(_CLOSING[kind]):
        return None
    depth = 0
    for k in reversed(range(len(text))):
        depth += (text[k] in ")]}") - (text[k] in "([{")
        if depth == 0:
            return k if text[k] == kind else None
    return None
