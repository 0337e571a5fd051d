"""The sixty sites of the sample crawl: what comes out is one frozen record per host with its language variety, its
template family and its own furniture (menu, advertisement, footer), which is the same on all of its pages. Host names
end in `.example`, a domain that can never exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from pipeline.sample.articles import Lexicon, pick

FAMILIES = ("news", "blog", "table", "plain", "magazine", "docs", "wiki", "portal", "gov")
FORUM = "forum"
OTHER_LANGUAGES = ("de", "es", "fr", "ja", "ko", "ru")
FORUMS = {"en": 3, "zh-hans": 3, "zh-hant": 2}  # so many of a variety's hosts, the last ones, are forums
_SECTIONS = ("a", "news", "story", "2021/03", "p", "archive/items", "read")


@dataclass(frozen=True)
class Site:
    host: str
    name: str
    variety: str
    family: str
    secure: bool
    colour: str
    skin: str
    menu: tuple[str, ...]
    advert: str
    footer: str

    def url(self, number: int, rng: Random) -> str:
        """The address of page `number`; numbers are unique in a crawl, and so are addresses."""
        ending = rng.choice((".html", ".htm", "", "/", ".php?lang=" + self.variety[:2]))
        return f"{'https' if self.secure else 'http'}://{self.host}/{rng.choice(_SECTIONS)}/{number}{ending}"


def make_sites(lexicons: Mapping[str, Lexicon], seed: str) -> dict[str, list[Site]]:
    """All sites by variety; forums are the last entries of their list."""
    sites: dict[str, list[Site]] = {}
    for variety in ("en", "zh-hans", "zh-hant", *OTHER_LANGUAGES):
        lexicon = lexicons[variety]
        hosts = lexicon.page.get("hosts", (f"kiosk-{variety}",))
        first_forum = len(hosts) - FORUMS.get(variety, 0)
        sites[variety] = [
            _make_site(host, variety, FAMILIES[at % len(FAMILIES)] if at < first_forum else FORUM, lexicon, seed)
            for at, host in enumerate(hosts)
        ]
    return sites


def _make_site(host: str, variety: str, family: str, lexicon: Lexicon, seed: str) -> Site:
    rng = Random(f"{seed}/site/{host}")
    nav = lexicon.page["nav"]
    return Site(
        host=f"{host}.example",
        name=f"{pick(lexicon, 'brand', rng)} {host.split('-')[0].capitalize()}",
        variety=variety,
        family=family,
        secure=rng.random() < 0.7,
        colour=f"{rng.randrange(1 << 24):06x}",
        skin=f"{rng.choice(('aero', 'birch', 'clay', 'delta', 'ember'))}{rng.randrange(10, 99)}",
        menu=tuple(rng.sample(nav, min(len(nav), rng.randint(6, 11)))),
        advert=pick(lexicon, "ads", rng),
        footer=pick(lexicon, "footer", rng),
    )
