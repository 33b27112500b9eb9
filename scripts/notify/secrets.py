"""The rule of signing secrets."""

from __future__ import annotations

import base64

RULE = "write whsec_ and the base64 of 24 to 64 random bytes"


def check_secret(secret: str) -> None:
    """Raises ValueError unless it is `whsec_` and the base64 of 24 to 64 bytes, as Standard Webhooks 1.0.0 asks."""
    encoded = secret.removeprefix("whsec_")
    try:
        length = len(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
    except ValueError:
        length = 0
    if not 24 <= length <= 64:
        raise ValueError(RULE)
