"""The keys in use: which place in the store is sealed by which, and what opens a value. Belongs to one event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .configuration import Configuration, Key
from .envelope import DATA_KEYS_KNOWN_MAX, DataKey, Undecipherable, WrappingKey, is_sealed, parse

NO_KEYS: Final = Configuration(())


class Keyring:
    """Seals and opens values by their place. `refresh` is asked for a newer configuration when a key is unknown."""

    def __init__(
        self, configuration: Configuration = NO_KEYS, refresh: Callable[[], Configuration | None] = lambda: None
    ) -> None:
        self._refresh = refresh
        self._known: dict[bytes, DataKey] = {}
        """By their header, as far as they were met."""
        self.use(configuration)

    def use(self, configuration: Configuration) -> None:
        """From now on these keys."""
        self.configuration = configuration
        places = configuration.places()
        self.prefixes = tuple(prefix for prefix, _ in places)
        """Of all places that have a rule: what begins otherwise is none of our business."""
        self._writing = [(prefix, rule.writing) for prefix, rule in places]
        keys = {key for rule in configuration.rules for key in rule.keys}
        self._wrapping: dict[str, list[WrappingKey]] = {}
        for key in sorted(keys, key=lambda key: (key.name, key.secret)):
            self._wrapping.setdefault(key.name, []).append(WrappingKey(key.name, key.secret))
        self._data_keys: dict[Key, DataKey] = {}
        """Those that seal now, by the key that wraps them."""
        self._known.clear()

    def covers(self, place: bytes) -> bool:
        """Whether a rule is about this place."""
        return place.startswith(self.prefixes)

    def writing(self, place: bytes) -> Key | None:
        """The key under which values of this place belong; None: in clear."""
        for prefix, key in self._writing:
            if place.startswith(prefix):
                return key
        return None

    def seal(self, place: bytes, value: bytes) -> bytes:
        """The value as it is to be stored."""
        key = self.writing(place)
        if key is None:
            return value
        data_key = self._data_keys.get(key)
        if data_key is None or data_key.left <= 0:
            data_key = WrappingKey(key.name, key.secret).new_data_key()
            self._data_keys[key] = self._known[data_key.header] = data_key
        return data_key.seal(place, value)

    def open(self, place: bytes, value: bytes) -> bytes:
        """The value in clear, whether it was sealed or not. Raises Undecipherable."""
        if not is_sealed(value):
            return value
        sealed = parse(place, value)
        data_key = self._known.get(sealed.header)
        if data_key is None:
            if len(self._known) >= DATA_KEYS_KNOWN_MAX:
                self._known.clear()
            candidates = self._wrapping.get(sealed.key_name) or self._look_again(sealed.key_name)
            unwrapped = [found for key in candidates if (found := key.unwrap(sealed)) is not None]
            if not unwrapped:
                raise _no_key(place, sealed.key_name, is_known=bool(candidates))
            data_key = self._known[sealed.header] = unwrapped[0]
        return data_key.open(place, sealed)

    def is_current(self, place: bytes, value: bytes) -> bool:
        """Whether the stored value is as it would be written now: under the key that writes, or in clear."""
        key = self.writing(place)
        if not is_sealed(value):
            return key is None
        return key is not None and parse(place, value).key_name == key.name

    def _look_again(self, name: str) -> list[WrappingKey]:
        """Another server may have begun with a key that our file has by now."""
        newer = self._refresh()
        if newer is not None:
            self.use(newer)
        return self._wrapping.get(name, [])


def _no_key(place: bytes, name: str, *, is_known: bool) -> Undecipherable:
    where = place.decode(errors="replace")
    if is_known:
        return Undecipherable(
            f"{where} was encrypted with another key named {name!r} than the one that is configured: "
            "put back the file with the keys of this store"
        )
    return Undecipherable(
        f"{where} was encrypted with the key {name!r}, which is not configured: "
        "put back the file with the keys of this store"
    )
