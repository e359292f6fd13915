"""EPUB: the chapters of the spine in order, each read as a web page."""

import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zipfile import BadZipFile, ZipFile

from knowledge.errors import UnreadableFile
from knowledge.loaders.archive import open_archive
from knowledge.loaders.builder import TextBuilder
from knowledge.loaders.text import decode
from knowledge.loaders.web import add_html
from knowledge.passage import Document

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
# These two only scramble embedded fonts; every other algorithm hides the text.
_FONT_ONLY = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})


def load_epub(path: Path, data: bytes, source: str) -> Document:
    """Load an e-book.

    Raises:
        UnreadableFile: damaged, a zip bomb, protected by DRM, or no text.
    """
    with open_archive(data, path.name) as archive:
        if _ENCRYPTION in archive.namelist():
            methods = _elements(_parse(archive, _ENCRYPTION, path.name), "EncryptionMethod")
            if any(method.get("Algorithm") not in _FONT_ONLY for method in methods):
                raise UnreadableFile(f"{path.name} is protected by DRM.", "Use a copy without protection.")
        root = next(iter(_elements(_parse(archive, _CONTAINER, path.name), "rootfile")), None)
        package_name = unquote(root.get("full-path", "")) if root is not None else ""
        package = _parse(archive, package_name, path.name)
        builder = TextBuilder()
        for chapter in _chapters(package, posixpath.dirname(package_name)):
            add_html(builder, decode(_member(archive, chapter, path.name), f"{path.name}: {chapter}"))
    title = next((element.text or "" for element in _elements(package, "title")), "")
    return builder.document(path, data, source, title)


def _chapters(package: Any, folder: str) -> list[str]:  # lxml elements carry no types
    """Return the member names of the spine's web pages in reading order."""
    items = {item.get("id"): item for item in _elements(package, "item")}
    chosen = [items[ref.get("idref")] for ref in _elements(package, "itemref") if ref.get("idref") in items]
    pages = [item for item in chosen if "html" in item.get("media-type", "")]
    return [posixpath.normpath(posixpath.join(folder, unquote(item.get("href", "")))) for item in pages]


def _member(archive: ZipFile, member: str, name: str) -> bytes:
    try:
        return archive.read(member)
    except (KeyError, BadZipFile) as error:
        raise UnreadableFile(
            f"{name} is damaged: {member or 'its package file'} is missing or broken.", "Download it again."
        ) from error


def _parse(archive: ZipFile, member: str, name: str) -> Any:
    """Return the root of a member's XML; entities stay unresolved and nothing outside is read."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(_member(archive, member, name), parser)
    except etree.XMLSyntaxError as error:
        raise UnreadableFile(f"{name} is damaged: {member}: {error}.", "Download it again.") from error


def _elements(root: Any, name: str) -> list[Any]:
    return list(root.iter(f"{{*}}{name}"))
