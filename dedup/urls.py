"""URLs in one spelling: URLs come in; the spelling that two addresses of one page share, and its 128-bit hash, go out.
The surprise: a reference without `//` has no spelling, since `index.html` means another page on every site.

What counts as the same: http and https; hosts in any case, as punycode or not, with or without `www.`; a port that is
the scheme's own; slashes at the end of the path; parameters in another order, in stable order of their names; escapes
written in other ways (RFC 3986, section 6.2.2), so that 数据 and %e6%95%b0%e6%8d%ae are equal; with or without tracking
parameters or a fragment, unless that begins with `!`, as where scripts took it for a path.
"""

import re
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dedup.hashing import content_hash
from filters.hosts import address

# Parameters that say where a reader came from and nothing about the page, by who adds them; `*` stands for any ending.
TRACKING_OF = {
    "utm_*": "Google Analytics, Campaign URL Builder",
    "_ga _gl": "Google Analytics, cross-domain linker",
    "gclid gclsrc dclid gbraid wbraid gad_source": "Google Ads and Campaign Manager, click identifiers",
    "fbclid": "Meta, click identifier",
    "igshid igsh": "Instagram, sharing",
    "msclkid": "Microsoft Advertising, click identifier",
    "yclid": "Yandex Direct, click identifier",
    "twclid": "X, click identifier",
    "ttclid": "TikTok, click identifier",
    "mc_cid mc_eid": "Mailchimp, campaign and reader",
    "_hsenc _hsmi": "HubSpot, e-mail",
    "mkt_tok": "Marketo, e-mail",
    "vero_id": "Vero, e-mail",
    "oly_anon_id oly_enc_id": "Omeda, e-mail",
    "spm scm": "Alibaba, Super Position Model",
    "hmsr hmpl hmcu hmkw hmci": "Baidu Tongji, campaign parameters",
    "bd_vid": "Baidu, click identifier",
    "vd_source": "Bilibili, sharing",
}
TRACKING = tuple(name for names in TRACKING_OF for name in names.split())
OWN_PORTS = {"http": ("80",), "https": ("443",), "": ("80", "443"), "ftp": ("21",)}
WEB = ("", "http", "https")

_URL = re.compile(r"(?:([a-z][a-z0-9+.-]*):)?//([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r":0*([0-9]+)$")
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})|([^\x21-\x7e]+)")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Tracking:
    """Names of parameters that do not count, in any case; one that ends in `*` stands for all that begin so."""

    def __init__(self, names: Sequence[str] = TRACKING) -> None:
        lower = [name.lower() for name in names]
        self.whole: Collection[str] = frozenset(name for name in lower if not name.endswith("*"))
        self.beginnings = tuple(name[:-1] for name in lower if name.endswith("*"))

    def has(self, name: str) -> bool:
        """Whether a parameter does not count."""
        name = name.lower()
        return name in self.whole or name.startswith(self.beginnings)


DEFAULT = Tracking()


def spelling(url: str, tracking: Tracking = DEFAULT) -> str | None:
    """The URL as all addresses of its page are spelled; None where it names no host."""
    found = _URL.fullmatch(url.strip())
    host = address(found[0]) if found else None
    if not found or not host:
        return None
    scheme, authority, path, query, fragment = (part or "" for part in found.groups())
    scheme, name = scheme.lower(), host[0]
    user = authority.rpartition("@")[0]
    if scheme in WEB and name.startswith("www.") and "." in name[4:]:
        name = name[4:]
    port = _PORT.search(authority)
    if port and port[1] not in OWN_PORTS.get(scheme, ()):
        name += f":{port[1]}"
    kept = [part for part in query.split("&") if part and not tracking.has(part.partition("=")[0])]
    kept.sort(key=lambda part: part.partition("=")[0])
    parts = ["" if scheme in WEB else f"{scheme}:", "//", f"{user}@" if user else "", name]
    parts += [_escaped(path).rstrip("/"), "?" if kept else "", _escaped("&".join(kept))]
    return "".join([*parts, f"#{_escaped(fragment)}" if fragment.startswith("!") else ""])


def url_hash(column: pa.Array, tracking: Tracking = DEFAULT) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """128-bit hash of each URL's spelling, uint64[n, 2], and bool[n]: whether it has one."""
    spellings = [spelling(url, tracking) if url else None for url in column.to_pylist()]
    known = np.array([text is not None for text in spellings], np.bool_)
    return content_hash(pa.array([text or "" for text in spellings], pa.string())), known


def _escaped(text: str) -> str:
    return _ESCAPE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    if not match[1]:
        return "".join(f"%{byte:02X}" for byte in match[2].encode("utf-8", "surrogatepass"))
    plain = chr(int(match[1], 16))
    return plain if plain in _UNRESERVED else match[0].upper()
