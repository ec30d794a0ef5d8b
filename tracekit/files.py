"""Files that a recording makes: their names, and how they come into being whole or not at all."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from tracekit.errors import UsageError

# Room for what is put around the name of a temporary file and of a journal, within the 255 of a file system.
_LONGEST_NAME = 230

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

#: In a journal, the file that its recorder has locked.
JOURNAL_LOCK = "lock"


def journal_path(path: Path) -> Path:
    """The hidden folder beside a trace where its events are kept until the recording ends."""
    return path.with_name(f".{path.name}.journal")


def copy_path(path: Path, when: datetime) -> Path:
    """The trace that a recording of `path` writes on the way, named by the time."""
    return path.with_name(f"{path.stem}-{when:%Y%m%dT%H%M%SZ}{path.suffix}")


def is_being_recorded(path: Path) -> bool:
    """Whether a recorder is at work on a trace: it holds the lock in the journal. False where that cannot be seen."""
    try:
        with (journal_path(path) / JOURNAL_LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def check_output(path: Path, force: bool = False, sources: Iterable[Path] = ()) -> None:
    """Refuse an output that cannot be written, before any work is done for it.

    Args:
        path: the file to write.
        force: it may replace one that exists.
        sources: what is read for it, none of which it may replace.

    Raises:
        UsageError: the folder is missing or not writable, or the file exists and `force` is not given, or is a source.
    """
    for source in sources:
        if _is_same_file(path, source):
            raise UsageError(f"{path} is what is read: choose another output with -o")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} does not exist: create it, or choose another output with -o")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file with -o")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file: name another output with -o")
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UsageError(f"the name {path.name} is too long: choose a shorter one with -o")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} exists already: choose another output with -o, or overwrite it with --force")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"the folder {folder} cannot be written to: choose another output with -o")


def _is_same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, be it by links."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # there is none, or its name is no name
        return False


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Where there is no room for a file that is made in this block, the error names it, whatever was written just then.

    Raises:
        OSError: the same as in the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def putting(path: Path, force: bool = False, remedy: str = "choose another output with -o") -> Iterator[Path]:
    """A file beside `path` to write to; on success synced and renamed to `path`, on failure removed.

    It is readable by its owner only: arguments and paths hold secrets. The name that is given leads to the very file
    that was made, whatever another user who may write to the folder puts in its place meanwhile.

    Args:
        path: the name in the end.
        force: replace a file that has that name.
        remedy: what to do where a file with that name has come meanwhile.

    Raises:
        UsageError: one has come, and `force` is not given.
        OSError: the file cannot be made, or was replaced.
    """
    with naming(path):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            yield Path(f"/proc/self/fd/{descriptor}")
            os.fsync(descriptor)
            if not os.path.samestat(os.lstat(temporary), os.fstat(descriptor)):
                raise OSError(errno.ESTALE, f"another user has replaced {temporary}")
            if force:
                temporary.replace(path)
            else:
                _rename_to_new(temporary, path, remedy)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        sync_folder(path.absolute().parent)


def _rename_to_new(temporary: Path, path: Path, remedy: str) -> None:
    """Rename a file unless its new name is taken: a second name can be made in one step only if it is new."""
    try:
        path.hardlink_to(temporary)
    except OSError:  # the name is taken, or the file system has no hard links
        if os.path.lexists(path):
            raise UsageError(f"{path} has come meanwhile: {remedy}") from None
        temporary.replace(path)
    else:
        temporary.unlink()


def remove_temporaries(path: Path) -> None:
    """Remove what writers of `path` and of its copies left that were killed; the caller knows that none is at work."""
    for left in _left(path.parent, rf"\.{re.escape(path.stem)}(-\d{{8}}T\d{{6}}Z)?{re.escape(path.suffix)}"):
        if not left.is_dir() or left.is_symlink():
            with contextlib.suppress(OSError):
                left.unlink()
    remove_discarded(path)


def _left(folder: Path, name: str) -> list[Path]:
    """Temporary names beside a file: one that meets the expression, then the number of a process, and nothing else."""
    temporary = re.compile(rf"{name}\.\d+\.tmp")
    return [path for path in folder.glob(".*.tmp") if temporary.fullmatch(path.name)]


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, and in one step from its name: none is ever met half empty."""
    discarded = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        folder.rename(discarded)
    except OSError:  # something has that name
        shutil.rmtree(folder)
    else:
        shutil.rmtree(discarded, ignore_errors=True)


def remove_discarded(path: Path) -> None:
    """Remove what is left of journals of `path` whose removal was cut short."""
    for left in _left(path.parent, re.escape(journal_path(path).name)):
        shutil.rmtree(left, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make names created in or removed from the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
