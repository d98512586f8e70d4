"""The outline of a PDF report, by which a viewer shows the pages' titles and jumps to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from pypdf import PdfReader, PdfWriter


def outlined(drawn: IO[bytes], titles: Sequence[str], path: Path, metadata: Mapping[str, str | None]) -> None:
    """Writes a PDF anew with an entry of the outline for each of its pages.

    Args:
        drawn: the PDF as it was drawn, a page for each title.
        titles: of the pages, in order.
        path: of the PDF with the outline.
        metadata: what the file says of itself, by name without the slash; names without a value are left out.
    """
    drawn.seek(0)
    writer = PdfWriter(clone_from=PdfReader(drawn))
    for number, title in enumerate(titles):
        writer.add_outline_item(title=title, page_number=number)
    writer.page_mode = "/UseOutlines"
    writer.metadata = {f"/{name}": value for name, value in metadata.items() if value is not None}
    with path.open("wb") as file:
        writer.write(file)
