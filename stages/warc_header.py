"""The header of a WARC record, or the line of an ARC record, comes in as bytes; its fields go out, or None when it has
no usable length, without which nobody knows where the record ends. The surprising thing is how wrong the other fields
may be without harm: a bad date is no date, and URLs stand in angle brackets or hold spaces."""

import re
from dataclasses import dataclass

WARC_LINE = rb"WARC/\d\.\d+[ \t]*\r?\n(?=[A-Za-z])"
# URL, IP address, date, type, (five more fields in version 2,) length
ARC_LINE = rb"(?<![^\n])[a-z][a-z0-9+.-]*:[^\r\n]{1,8000} [0-9A-Fa-f.:]+ \d{14} [^\r\n]{0,8000}\d\r?\n"
WARC_START = re.compile(WARC_LINE)
ARC_START = re.compile(ARC_LINE)
ARC_NEXT = re.compile(rb"\n(?=" + ARC_LINE + rb")")
ANY_START = re.compile(WARC_LINE + rb"|" + ARC_LINE)
FIELD = re.compile(
    rb"^(WARC-(?:Type|Target-URI|Record-ID|Date|Truncated)|Content-(?:Type|Length))[ \t]*:[ \t]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
FOLD = re.compile(rb"\r?\n[ \t]+")
# The first length of a header and the first valid one: parse_warc_header succeeds where they are the same.
SPACE = rb"(?:(?:\r?\n)?[ \t])*"
LENGTH = re.compile(rb"\nContent-Length" + SPACE + rb":", re.IGNORECASE)
VALID_LENGTH = re.compile(LENGTH.pattern + SPACE + rb"\d{1,18}(?:\n?[ \t\r\f\v])*\n(?![ \t])", re.IGNORECASE)
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
ARC_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)")


@dataclass(frozen=True)
class Header:
    """What a record says of itself; a field that is absent or malformed is empty."""

    warc_type: str
    url: str
    record_id: str
    date: str
    content_type: str
    length: int
    truncated: bool


def find_start(buffer: bytearray, begin: int, end: int, arc: bool | None) -> int:
    """The next place in [begin, end) that looks like a record of WARC, of ARC, or (None) of either; -1 without one.
    The search for either is 30 times as slow as that for one, but two searches would each run on behind what the
    other finds, again for every false start."""
    if arc:
        match = ARC_NEXT.search(buffer, max(begin - 1, 0), end)
        return match.end() if match else -1
    match = (ANY_START if arc is None else WARC_START).search(buffer, begin, end)
    return match.start() if match else -1


def parse_warc_header(block: bytes) -> Header | None:
    """The fields of a WARC header block; None without a version line or a valid Content-Length."""
    if not WARC_START.match(block):
        return None
    fields: dict[str, str] = {}
    for name, value in FIELD.findall(FOLD.sub(b" ", block)):
        fields.setdefault(name.decode().lower(), value.decode("utf-8", "replace").rstrip())
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 19):
        return None
    date = fields.get("warc-date", "")
    return Header(
        warc_type=fields.get("warc-type", "").lower(),
        url=clean_url(fields.get("warc-target-uri", "")),
        record_id=fields.get("warc-record-id", "").strip("<>"),
        date=date if ISO_DATE.match(date) else "",
        content_type=fields.get("content-type", ""),
        length=int(length),
        truncated="warc-truncated" in fields,
    )


def parse_arc_header(line: bytes) -> Header | None:
    """The line of an ARC record: a URL, which may hold spaces, and 4 more fields (version 1) or 9 (version 2)."""
    text = line.decode("utf-8", "replace").strip()
    for count in (4, 9):
        fields = text.rsplit(" ", count)
        date = ARC_DATE.fullmatch(fields[2]) if len(fields) == count + 1 else None
        if date and ARC_START.match(line) and fields[-1].isascii() and fields[-1].isdigit() and len(fields[-1]) < 19:
            year, month, day, hour, minute, second = date.groups()
            return Header(
                warc_type="warcinfo" if text.startswith("filedesc:") else "response",
                url=clean_url(fields[0]),
                record_id="",
                date=f"{year}-{month}-{day}T{hour}:{minute}:{second}Z",
                content_type="application/http; msgtype=response" if text.startswith("http") else fields[3],
                length=int(fields[-1]),
                truncated=False,
            )
    return None


def clean_url(url: str) -> str:
    """Without the angle brackets that wget writes, and with the spaces that some crawlers leave."""
    url = url.strip()
    if url.startswith("<") and url.endswith(">"):
        url = url[1:-1].strip()
    return url.replace(" ", "%20")
