"""Foreign XML: small, and without a document type, so that it can define no entity."""

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from client.data.readers.files import check_size
from common.errors import DataError

MAX_XML_BYTES = 1 << 26
MOST_DEPTH = 64


def read_xml(path: Path) -> ET.Element:
    """Return the root of an XML file.

    Guarantees: no entity is expanded, no other file is opened, depth is bounded.

    Raises:
        DataError: when it is not well-formed, too large, nested too deeply, or has a DOCTYPE.
    """
    check_size(path, MAX_XML_BYTES)
    content = path.read_bytes()
    _check(path, content)
    try:
        return ET.fromstring(content)  # noqa: S314  checked above
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path.name}: not well-formed XML: {str(error)[:80]}") from None


def _check(path: Path, content: bytes) -> None:
    depth = 0

    def refuse(*_: object) -> None:
        raise DataError(f"{path.name}: has a DOCTYPE; remove it, it is not needed")

    def enter(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise DataError(f"{path.name}: nested too deeply")

    def leave(*_: object) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = enter
    parser.EndElementHandler = leave
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"{path.name}: not well-formed XML: {str(error)[:80]}") from None
