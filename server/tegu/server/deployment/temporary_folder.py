"""A temporary folder for processes that may still write to it while it is removed."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["temporary_folder"]

_log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 15.0  # Ray's workers end a few seconds after the process that they report to
_POLL_SECONDS = 0.1


@contextmanager
def temporary_folder(prefix: str, patience: float = _PATIENCE_SECONDS) -> Iterator[Path]:
    """A new folder that is removed on exit.

    A process that ends at the same time may add a file while the folder is emptied, so removal is tried again. Not
    `tempfile.TemporaryDirectory`, which tries once. A folder that cannot be removed is named in a warning.

    Args:
        prefix: how the folder's name begins.
        patience: seconds for which removal is tried.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        _remove(folder, time.monotonic() + patience)


def _remove(folder: Path, deadline: float) -> None:
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if time.monotonic() >= deadline:
                _log.warning("the temporary folder %s could not be removed: %s; remove it by hand", folder, error)
                return
            time.sleep(_POLL_SECONDS)
