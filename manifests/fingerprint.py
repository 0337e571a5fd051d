"""Identities of recipes, stages and tasks: a value in, a hexadecimal digest out, equal in every process.

Only values whose meaning is their content have an identity; anything else (a function, an open file, a path object)
raises, so that nothing that varies between processes can slip into a stage id.
"""

import dataclasses
import enum
import hashlib
import json
from typing import Any

STAGE_ID_BYTES = 8
TASK_KEY_BYTES = 16


def fingerprint(*parts: Any, size: int = TASK_KEY_BYTES) -> str:
    """Digest of `parts` as 2 * size hexadecimal digits; TypeError for a value without a stable identity."""
    text = json.dumps(canonical(parts), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def canonical(value: Any) -> Any:
    """Plain JSON value with the same identity as `value`; fields with metadata {"identity": False} are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (f for f in dataclasses.fields(value) if f.metadata.get("identity", True))
        return {"@": type(value).__qualname__} | {f.name: canonical(getattr(value, f.name)) for f in fields}
    if isinstance(value, enum.Enum):
        return canonical(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return {"set": sorted((canonical(item) for item in value), key=json.dumps)}
    if isinstance(value, dict):
        # Pairs instead of an object: the keys 1 and "1" must stay different.
        pairs = [[canonical(key), canonical(item)] for key, item in value.items()]
        return {"dict": sorted(pairs, key=json.dumps)}
    raise TypeError(f"{type(value).__qualname__} has no stable identity; use a frozen dataclass, an enum or a literal")


def not_identity() -> dict[str, bool]:
    """Metadata of a dataclass field that does not change a stage's output, such as a batch size."""
    return {"identity": False}
