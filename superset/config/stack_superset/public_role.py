"""What people may do who are not logged in: looked up now and then, and not in each request."""

import threading
import time

from superset.security import SupersetSecurityManager

KEPT_SECONDS = 10


class SecurityManager(SupersetSecurityManager):  # type: ignore[misc]
    """Flask-AppBuilder asks first in each call of the API whether the role Public may do it, and reads that role and all its rights for it: a
    sixth of the time of a cached chart. Here a right that is given to Public, or taken from it, holds KEPT_SECONDS later. All other roles are
    looked up each time, as ever."""

    _public: frozenset[tuple[str, str]] = frozenset()
    _read_at: float | None = None
    _turn = threading.Lock()

    def is_item_public(self, permission_name: str, view_name: str) -> bool:
        with self._turn:
            if self._read_at is None or time.monotonic() - self._read_at > KEPT_SECONDS:
                self._public = frozenset(
                    (right.permission.name, right.view_menu.name) for right in self.get_public_permissions()
                )
                self._read_at = time.monotonic()
            return (permission_name, view_name) in self._public
