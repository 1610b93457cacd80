"""Names of hosts from which images are fetched, as an operator lists them."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""Of a host, in lower case; also an IPv4 address, but no IPv6 address, port or path."""


def parse_image_hosts(text: str | None) -> frozenset[str]:
    """Names from a list with commas, in lower case. Raises ValueError for what is none.

    >>> sorted(parse_image_hosts("b.example, A.example"))
    ['a.example', 'b.example']
    """
    names = [name.strip().lower() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not the name of a host, as pictures.example.org is")
    return frozenset(names)
