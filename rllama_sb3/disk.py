"""What a disk that is full says, in whatever form it comes."""

from __future__ import annotations

import errno
from typing import Final

from rllama_sb3.errors import causes_of

# No room, none for this user, none in this file; and a disk that fails or has turned read-only.
_NUMBERS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_SQLITE_WORDS: Final = ("database or disk is full", "disk I/O error")


def why_not_written(error: BaseException) -> str | None:
    """Returns why the disk could not be written, if that is what an error comes of.

    Nothing is wrong then with what was to be written, and it can be tried again.

    Example:
        >>> error = RuntimeError("the model cannot be saved")
        >>> error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "model.zip")
        >>> why_not_written(error)
        'model.zip: No space left on device'
        >>> why_not_written(ValueError("No space left on device")) is None
        True
    """
    for cause in causes_of(error):
        if isinstance(cause, OSError) and cause.errno in _NUMBERS:
            where = f"{cause.filename}: " if cause.filename else ""
            return f"{where}{cause.strerror}"
        # SQLAlchemy's error has that of SQLite as an attribute.
        said = str(getattr(cause, "orig", ""))
        if said in _SQLITE_WORDS:
            return f"the study: {said}"
    return None
