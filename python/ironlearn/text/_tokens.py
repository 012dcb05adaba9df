"""Texts as words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

#: A word with its apostrophes ("don't"), or one sign that is no letter, digit or space.
_WORD_OR_SIGN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def as_texts(texts: Any, name: str = "X") -> list[str]:
    """Return `texts`, the argument `name`, as a list of strings.

    Raises
    ------
    TypeError
        It is one string, or no sequence, or an element is no string; the first such one is named.
    ValueError
        There are no texts, or they are in a table of several columns.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"{name} is a single {type(texts).__name__}; pass a list of texts, such as [text]."
        )
    shape = getattr(texts, "shape", None)
    if shape is not None and len(shape) != 1:
        if len(shape) == 2 and shape[1] == 1:
            texts = texts.iloc[:, 0] if hasattr(texts, "iloc") else texts[:, 0]
        else:
            raise ValueError(
                f"{name} must hold one text a sample, got the shape {tuple(shape)}; pass one "
                "column."
            )
    if not isinstance(texts, Iterable) or isinstance(texts, dict | set):
        raise TypeError(f"{name} must be a list of texts, got {type(texts).__name__}.")
    found = list(texts)
    if not found:
        raise ValueError(f"{name} holds no texts.")
    for i, text in enumerate(found):
        if not isinstance(text, str):
            shown = repr(text) if len(repr(text)) <= 40 else repr(text)[:37] + "..."
            hint = "; decode it, for example by .decode('utf-8')" if isinstance(text, bytes) else ""
            raise TypeError(
                f"{name}[{i}] must be a str, got {shown} ({type(text).__name__}){hint}."
            )
    return found


def tokenize(text: str, *, lowercase: bool = True, punctuation: bool = True) -> list[str]:
    """Return the words of a text, and the signs between them where `punctuation` is kept.

    Examples
    --------
    >>> tokenize("It isn't bad, is it?")
    ['it', "isn't", 'bad', ',', 'is', 'it', '?']
    >>> tokenize("It isn't bad, is it?", lowercase=False, punctuation=False)
    ['It', "isn't", 'bad', 'is', 'it']
    """
    if lowercase:
        text = text.lower()
    return (_WORD_OR_SIGN if punctuation else _WORD).findall(text)
