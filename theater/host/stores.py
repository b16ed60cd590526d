"""Which stores an actor may open, and how much it may put into them.

A store belongs to the actor that made it, in all of its lives, and nobody else opens it by knowing or guessing its id.
What actors share is named in the manifest of each of them: a name, which stands for the same store throughout a server
and is an id to its functions, or the id of a store.
"""

from __future__ import annotations

from theater.core.permissions.store import Store, is_store_name
from theater.core.quantities import show, show_size
from theater.errors import InvalidInput, LimitExceeded
from theater.host.base import Refused
from theater.store.labels import Labels, Room, named_store


class Stores:
    """The stores of one actor.

    Args:
        labels: all stores.
        actor: its id.
        permissions: what its manifest grants.
    """

    def __init__(self, labels: Labels, actor: str, permissions: Store) -> None:
        self.labels = labels
        self._actor = actor
        self._may = permissions
        self._own_sizes: dict[str, int] | None = None

    def new(self) -> str:
        """Makes a store of its own. Raises LimitExceeded if it has too many."""
        own = self._own()
        if len(own) >= self._may.stores:
            raise LimitExceeded(f"this actor has made {len(own)} stores, and may have {self._may.stores} (stores)")
        made = self.labels.new(owner=self._actor)
        own[made] = 0
        return made

    def readable(self, store: str) -> str:
        """The id of a store that it may read. Raises Refused, InvalidInput."""
        return self._opened(store, self._may.read, "read")

    def writable(self, store: str) -> str:
        """The id of a store that it may write to. Raises Refused, InvalidInput."""
        return self._opened(store, self._may.write, "write")

    def room(self, store: str) -> Room:
        """What there may be in a store.

        Args:
            store: its id, as `writable` gives it.
        """
        own = self._own()
        if store in own:
            left = self._may.quota - sum(size for other, size in own.items() if other != store)
            if left < self._may.store_quota:
                why = f"quota = {show_size(self._may.quota)} for all stores of this actor"
                return Room(left, self._may.items, why)
        return Room(self._may.store_quota, self._may.items, f"store_quota = {show_size(self._may.store_quota)}")

    def was_put_into(self, store: str) -> None:
        """Something was put into a store."""
        own = self._own()
        if store in own:
            own[store] = self.labels.used(store).size

    def _opened(self, store: str, granted: tuple[str, ...], right: str) -> str:
        found = named_store(store) if is_store_name(store) else store
        if store in granted:
            self.labels.ensure(found)
        elif is_store_name(store) or not self._is_own(store):
            shared = ", ".join(map(show, granted)) or "no other"
            raise Refused(
                f"the store {show(store)} is not one that this actor may {right}: it may {right} those that it has "
                f'made, and {shared} ([[handler]] type = "store", {right})'
            )
        return found

    def _is_own(self, store: str) -> bool:
        try:
            return self.labels.belongs(store, self._actor)
        except InvalidInput as error:
            raise Refused(error.message) from error

    def _own(self) -> dict[str, int]:
        """The bytes of each store that it has made. Nobody else puts anything into those while it lives."""
        if self._own_sizes is None:
            self._own_sizes = {store: self.labels.used(store).size for store in self.labels.owned(self._actor)}
        return self._own_sizes
