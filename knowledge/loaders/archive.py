"""Zip files that are documents (DOCX, PPTX, EPUB): refused before parsing where they are damaged, locked or bombs."""

from io import BytesIO
from zipfile import BadZipFile, ZipFile

from knowledge.errors import UnreadableFile

MAX_UNPACKED = 300 * 1024 * 1024
_MAX_MEMBERS = 20_000
_MAX_RATIO = 200
_RATIO_MATTERS = 10 * 1024 * 1024
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def open_archive(data: bytes, name: str) -> ZipFile:
    """Open a zip-based document after looking at its directory only.

    The declared sizes can be trusted as upper bounds: `ZipFile` never unpacks more of a member than its directory declares.

    Raises:
        UnreadableFile: not a zip, damaged, password-protected, or a zip bomb.
    """
    if data.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise UnreadableFile(f"{name} is password-protected.", "Save a copy without the password.")
        raise UnreadableFile(f"{name} has the old binary Office format.", "Save it as DOCX or PPTX.")
    try:
        archive = ZipFile(BytesIO(data))
        members = archive.infolist()
    except (BadZipFile, ValueError, NotImplementedError) as error:
        raise UnreadableFile(
            f"{name} is damaged, or not what its ending says: {error}.", "Copy or download it again."
        ) from error
    if any(member.flag_bits & 1 for member in members):
        raise UnreadableFile(f"{name} is password-protected.", "Save a copy without the password.")
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if (
        unpacked > MAX_UNPACKED
        or len(members) > _MAX_MEMBERS
        or packed > len(data)  # members that share their bytes
        or (unpacked > _RATIO_MATTERS and unpacked > _MAX_RATIO * packed)
    ):
        raise UnreadableFile(
            f"{name} would unpack to {unpacked / 2**20:.0f} MB in {len(members)} parts: it looks like a zip bomb.",
            "Leave it out, or export its text as PDF or Markdown.",
        )
    return archive
