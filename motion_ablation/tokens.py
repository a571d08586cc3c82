"""Texts as token ids of a fixed length, and what of a text is longer than that."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)
_told: set[tuple[str, str]] = set()


def left_out(tokenizer: Any, texts: Iterable[str], length: int, where: str) -> dict[str, str]:
    """The end of every text that does not fit into ``length`` tokens, by text; each is told in one warning.

    Args:
        length: tokens that an encoder takes, those for beginning and end included. where: what cuts the text, for the warning.
    """
    found: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        ids = tokenizer(text, truncation=False, verbose=False).input_ids
        if len(ids) > length:
            found[text] = tokenizer.decode(ids[length - 1 :], skip_special_tokens=True).strip()
            if (text, where) not in _told:
                _told.add((text, where))
                log.warning("%s takes %d tokens; cut from “%.60s …”: “%s”", where, length - 2, text, found[text])
    return found
