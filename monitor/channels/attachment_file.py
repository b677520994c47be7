"""An attachment as a file on disk during one attempt to send it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apprise.attachment import AttachBase

    from monitor.core.messages.message import Attachment


@contextmanager
def attachment_file(attachment: "Attachment | None") -> "Iterator[AttachBase | None]":
    """
    Write an attachment to a temporary file that only its owner can read, and remove it afterwards.

    Apprise also has attachments in memory, but several of its services (mailgun, ses, form, apprise, Matrix) open
    ``attachment.path``, which isn't a file then. They fail or send nothing.
    """
    if attachment is None:
        yield None
        return
    from apprise.attachment.file import AttachFile

    with TemporaryDirectory(prefix="postpost-monitor-") as directory:
        path = Path(directory) / attachment.name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(attachment.content)
        yield AttachFile(  # type: ignore[no-untyped-call]  # Apprise types it in part
            path=str(path), name=attachment.name, mimetype=attachment.mime
        )
