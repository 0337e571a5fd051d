"""Inputs behind http:// and https://: what they are (size and validator), and their bytes, with resume after a break.

A server that says 403, 429 or 5xx is asked again later, as late as its Retry-After says: Common Crawl answers 403 to
clients that are too quick. Every later range must come from the same version of the object (ETag, else
Last-Modified); a server that cannot do ranges is read from the start again, and the known bytes are thrown away.
"""

import http.client
import io
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from manifests.entries import StorageError, absent
from manifests.ranged import CHUNK, Broken, Stream, open_ranged, retried

TIMEOUT = 60.0  # seconds without a byte
AGAIN = (403, 408, 425, 429, 500, 502, 503, 504)
NO_HEAD = (403, 405, 501)  # signed addresses, for one, allow no method but GET
BREAKS: tuple[type[Exception], ...] = (OSError, http.client.HTTPException)


def stat(url: str) -> "WebObject":
    """Size and version of an object, by HEAD, or by a range of one byte where HEAD is refused or tells no size."""
    found = retried(url, lambda: _stat(url, "HEAD"))
    if not found.version:
        raise StorageError(
            f"{url}: the server gives neither ETag nor Last-Modified, so a change could not be seen; "
            "download it and name the file instead"
        )
    return found


def open_url(url: str) -> io.BufferedReader:
    """A seekable file over an object, pinned to the version that it has now."""
    return open_ranged(stat(url))


def modified_ns(found: "WebObject") -> int | None:
    """Last-Modified in nanoseconds since 1970."""
    moment = _date(found.modified)
    return None if moment is None else int(moment.timestamp()) * 1_000_000_000


def _stat(url: str, method: str) -> "WebObject":
    try:
        with _request(url, method, {"Range": "bytes=0-0"} if method == "GET" else {}) as reply:
            found = _described(url, reply)
    except Refused as refusal:
        if method == "GET" or refusal.status not in NO_HEAD:
            raise
        return _stat(url, "GET")
    if found.size >= 0:
        return found
    if method == "HEAD":
        return _stat(url, "GET")
    raise StorageError(f"{url}: the server does not tell its size; download it and name the file instead")


def _described(url: str, reply: http.client.HTTPResponse) -> "WebObject":
    """What the headers say; size -1 when they do not."""
    total = (reply.headers.get("Content-Range") or "").rpartition("/")[2] if reply.status == 206 else None
    size = total if total is not None else reply.headers.get("Content-Length") or ""
    etag, modified = reply.headers.get("ETag") or "", reply.headers.get("Last-Modified") or ""
    return WebObject(url, int(size) if size.isdecimal() else -1, etag, modified)


def _request(url: str, method: str, extra: dict[str, str]) -> http.client.HTTPResponse:
    headers = {"User-Agent": "glasspile", "Accept-Encoding": "identity", **extra}
    try:
        return urllib.request.urlopen(
            urllib.request.Request(_ascii(url), headers=headers, method=method), None, TIMEOUT
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (404, 410):
                raise absent(url) from error
            if error.code in AGAIN or (method == "HEAD" and error.code in NO_HEAD):
                raise Refused(error.code, _retry_after(error.headers)) from error
            raise StorageError(f"{url}: the server answered HTTP {error.code} {error.reason}") from error
    except (http.client.InvalidURL, ValueError) as error:
        raise StorageError(f"{url}: not a usable address ({error})") from error
    except BREAKS as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise StorageError(f"{url}: the server's certificate is not trusted ({reason.verify_message})") from error
        raise Broken(str(reason) or type(reason).__name__) from error


def _ascii(url: str) -> str:
    """The address with spaces and non-ASCII letters escaped; what is escaped already stays."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    rest = [urllib.parse.quote(part, safe="%/:=&?~#+!$,;'@()*[]") for part in (parts.path, parts.query)]
    return urllib.parse.urlunsplit((parts.scheme, host, *rest, ""))


def _retry_after(headers: Message) -> float:
    """Seconds that the server asks us to wait, given as a number or as a date; 0 when it does not."""
    value = headers.get("Retry-After") or ""
    if re.fullmatch(r"\s*\d+\s*", value):
        return float(value)
    moment = _date(value)
    return 0.0 if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Refused(Broken):
    """An HTTP status that may be another one later."""

    def __init__(self, status: int, asked: float) -> None:
        super().__init__(f"HTTP {status}", asked)
        self.status = status


@dataclass(frozen=True)
class WebObject:
    """One version of an object, as a RangeSource; ETag and Last-Modified as they were sent, '' if not."""

    uri: str
    size: int
    etag: str
    modified: str

    @property
    def version(self) -> str:
        """What tells a new version of the object: the ETag (a weak one with its mark), or else the date."""
        if self.etag:
            return self.etag if self.etag.startswith("W/") else self.etag.strip('"')
        return f"last-modified {self.modified}" if self.modified else ""

    @property
    def transient(self) -> tuple[type[Exception], ...]:
        return BREAKS

    def open_range(self, start: int, stop: int) -> Stream:
        # A weak ETag may not be used in If-Range; then the comparison below is the only check.
        pin = self.etag if self.etag and not self.etag.startswith("W/") else self.modified
        condition = {"If-Range": pin} if pin else {}
        reply = _request(self.uri, "GET", {"Range": f"bytes={start}-{stop - 1}", **condition})
        found = _described(self.uri, reply)
        if found.version != self.version or found.size not in (-1, self.size):
            reply.close()
            raise StorageError(f"{self.uri}: the object changed while it was read; list the inputs again")
        if reply.status != 206:
            self._skip(reply, start)
        return reply

    def _skip(self, reply: http.client.HTTPResponse, count: int) -> None:
        """Read and forget what comes before the range, from a server that sends everything."""
        while count:
            try:
                data = reply.read(min(count, CHUNK))
            except BREAKS as error:
                reply.close()
                raise Broken(str(error)) from error
            if not data:
                reply.close()
                raise Broken("the connection was closed early")
            count -= len(data)
