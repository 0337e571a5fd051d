"""One HTML page in UTF-8 comes in, its main text, title and declared language go out. It runs in the child of
`stages/sandbox.py`, and what it returns depends on nothing but the page: trafilatura's memory of segments seen before
(`deduplicate`) stays off, and its metadata, which look at today's date, are not asked for."""

import re
from copy import copy

from lxml import etree
from lxml.etree import _Element
from lxml.html import HtmlElement, document_fromstring
from trafilatura.baseline import baseline
from trafilatura.htmlprocessing import convert_tags, prune_unwanted_nodes, tree_cleaning
from trafilatura.main_extractor import extract_content
from trafilatura.settings import MANUALLY_CLEANED, Extractor
from trafilatura.xml import xmltotxt
from trafilatura.xpaths import RAW_TREE_PRUNE_XPATH, REMOVE_COMMENTS_AND_LISTS_XPATH

from stages.matcher import quicken
from stages.sandbox import Extracted

# What libxml2 takes for the end of a text, or refuses; tab, newline and carriage return stay.
CONTROLS = bytes(set(range(32)) - {9, 10, 13})

# No image and no link is asked for, so nothing reads these; each copy that trafilatura makes of a tree copies them.
# `itemprop`, `role`, `style`, `aria-hidden` and `type` stay: it decides by them.
UNREAD = (
    "action align alt aria-controls aria-expanded aria-haspopup aria-label aria-labelledby bgcolor border cellpadding "
    "cellspacing content data-src datetime decoding height href hreflang itemscope itemtype loading method name "
    "onclick onload onmouseout onmouseover placeholder property rel sizes src srcset tabindex target title valign "
    "value width"
).split()
JSON_LD = "application/ld+json"  # the only scripts that trafilatura reads
FORUM = re.compile(r'"@type"\s*:\s*(\[[^\]]*)?"DiscussionForumPosting"')  # of schema.org
# Chosen on 231 pages with gold text (mean token F1, zh | en): balanced 0.793 | 0.883, recall 0.815 | 0.882; recall
# without tables or with comments is no better.
OPTIONS = Extractor(output_format="python", fast=True, recall=True, comments=False, tables=True, dedup=False)


def html_parser() -> etree.HTMLParser:
    """A parser as trafilatura's, but with one class for all elements: looking it up by name costs 5 % of a page."""
    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, collect_ids=False, default_doctype=False
    )
    parser.set_element_class_lookup(etree.ElementDefaultClassLookup(element=HtmlElement))
    return parser


PARSER = html_parser()
quicken()
# A tag makes at most an element, one that HTML implies around it, and a text on either side.
NODES_PER_TAG = 4


def extract_page(html: bytes, url: str, max_nodes: int) -> Extracted:
    """Main text of a page; its URL, which every target of the sandbox is given, changes nothing."""
    try:
        tree = document_fromstring(html.translate(None, CONTROLS), parser=PARSER)
    except etree.ParserError:  # no element at all
        return Extracted(reason="empty")
    if NODES_PER_TAG * (html.count(b"<") + 4) > max_nodes and tree.xpath("count(//node())") > max_nodes:
        return Extracted(reason="too_many_nodes")
    heading = next(tree.iter("title"), None)
    title = " ".join("".join(heading.itertext()).split()) if heading is not None else ""
    language = (tree.get("lang") or tree.get("xml:lang") or "").strip().lower()[:35]
    lighten(tree)
    text = main_text(tree)
    return Extracted(text, title, language, "" if text else "empty")


def main_text(tree: HtmlElement) -> str:
    """What trafilatura's `bare_extraction` gives for a tree, which is not kept: so it need not be copied."""
    try:
        body, text = cascade(tree)
    except (TypeError, ValueError):  # where `bare_extraction` gives nothing
        return ""
    return tidy(xmltotxt(body, OPTIONS.formatting)) if len(text) >= OPTIONS.min_output_size else ""


def cascade(tree: HtmlElement) -> tuple[_Element, str]:
    """trafilatura's steps under `OPTIONS`, without the copies of the tree that serve others: body and its text."""
    prune_unwanted_nodes(tree, RAW_TREE_PRUNE_XPATH)
    scripts = tree.iterfind(f'.//script[@type="{JSON_LD}"]')
    if not any(FORUM.search(script.text or "") for script in scripts):  # where comments are what people come for
        prune_unwanted_nodes(tree, REMOVE_COMMENTS_AND_LISTS_XPATH)
    body, text = extract_content(convert_tags(tree_cleaning(copy(tree), OPTIONS), OPTIONS), OPTIONS)
    if len(text) < OPTIONS.min_extracted_size:
        all_of_it, longer, size = baseline(tree)
        if size > len(text):
            return all_of_it, longer
    return body, text


def lighten(tree: HtmlElement) -> None:
    """Take out of a page what does not change its text: of 231 real pages 12 % of the elements, 42 % of the attributes.

    trafilatura drops it too, but only after it has searched and copied the tree several times. Where it would put back
    what it dropped, because no paragraph were left, the elements stay; only where comments held the other paragraphs,
    text that follows a script or a drawing may come in addition.
    """
    etree.strip_attributes(tree, *UNREAD)
    paragraphs = tree.iter("p")
    if (first := next(paragraphs, None)) is not None and is_dropped(first) and all(map(is_dropped, paragraphs)):
        return
    for script in tree.iter("script"):
        if script.get("type") != JSON_LD:
            script.tag = "style"
    # A drawing that is never closed swallows what follows it, such as the JSON-LD.
    drawings = ("svg",) if tree.find(".//svg//script") is None else ()
    etree.strip_elements(tree, "style", *drawings, with_tail=False)
    for head in tree.findall("head"):
        etree.strip_elements(head, "link", "meta", with_tail=False)


def is_dropped(element: HtmlElement) -> bool:
    """Whether the element lies inside one that trafilatura drops."""
    return next(element.iterancestors(*MANUALLY_CLEANED), None) is not None


def tidy(text: str) -> str:
    """One kind of line end, no white space before it, none at the beginning and the end; nothing else is changed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()
