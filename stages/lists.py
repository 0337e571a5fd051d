"""Word and URL lists from outside: the name under which a recipe gives a list and its file in, the opened list out."""

from typing import Any

from manifests.asset import Asset


def open_list(name: str, asset: Asset) -> Any:
    """The list of a file; the name says of which kind it is."""
    raise ValueError(f"no signal looks at a list named {name!r} ({asset.name})")
