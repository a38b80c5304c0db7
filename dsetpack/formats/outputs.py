"""What may be written: never over what is read, and over another existing file only if it is of the same kind.

A file shows its kind by its own first bytes, not by its name. An empty file is of every kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dsetpack.formats.atomic import check_writable
from dsetpack.formats.errors import FormatError
from dsetpack.formats.header import MAGIC

PathLike = str | os.PathLike[str]
_HEAD = 1 << 16


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        words: what such a file is: ``a pack``.
        begins: whether a file with these first bytes (64 KiB, or all of them) is one.
    """

    words: str
    begins: Callable[[bytes], bool]


PACK = Kind("a pack", lambda head: head.startswith(MAGIC))


def check_output(
    out: PathLike,
    kind: Kind,
    reads: Iterable[PathLike | None] = (),
    *,
    force: bool = False,
    keep: PathLike | None = None,
) -> None:
    """Check, before any work, that a file may be written.

    Args:
        out: the file.
        kind: what is written.
        reads: the files and folders that are read; see ``check_apart``.
        force: whether a file of another kind may be replaced.
        keep: a folder from which some files may be read; ``force`` does not hold there.

    Raises:
        FormatError: if ``out`` is read here, is a file of another kind, or is a URL.
        OSError: if it cannot be written.
    """
    check_apart(out, reads)
    if Path(out).is_file() and not _is_of(kind, Path(out)):
        if not force:
            raise FormatError(f"{out}: there already, and not {kind.words}: name another file, or pass --force")
        check_apart(out, [keep])
    check_writable(out)


def check_apart(out: PathLike, reads: Iterable[PathLike | None]) -> None:
    """Check that writing ``out`` leaves all that is read as it is.

    Two names of one file are one file: symbolic links are followed, and hard links are recognised.

    Args:
        out: the file or folder to write, which need not exist.
        reads: the files and folders that are read. What does not exist is left out: None, URLs, names of data sets.

    Raises:
        FormatError: if ``out`` is one of them, or lies inside one.
        OSError: if the operating system does not let one of them be looked at.
    """
    target = Path(os.path.realpath(out))
    for read in reads:
        if read is None or not (source := Path(read)).exists():
            continue
        if target.exists() and target.samefile(source):
            raise FormatError(f"{out}: it is what is read here ({read}): give the result a name of its own")
        if source.is_dir() and any(folder.exists() and folder.samefile(source) for folder in target.parents):
            raise FormatError(f"{out}: it lies in the folder that is read here ({read}): write it outside of that")


def _is_of(kind: Kind, path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return not head or kind.begins(head)
