"""A folder as one upload: what goes along, what is left out, and the archive, which is the same for the same files."""

from __future__ import annotations

import difflib
import gzip
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Union

from .errors import InputError
from .inputs import not_read, read_plain
from .view import count_text, size_text

MAX_FILES = 20_000
MAX_BYTES = 4 * 1024**3
ALWAYS_LEFT_OUT = frozenset({".git", "__pycache__", ".ipynb_checkpoints"})
OWN_RULES, GIT_RULES = ".trainjobignore", ".gitignore"
SCRIPTS = (".py", ".R", ".r", ".scala")
ENTRIES = (*SCRIPTS, ".ipynb")


@dataclass(frozen=True)
class Packed:
    """One file that goes along. ``path`` is relative to the folder, with ``/``."""

    path: str
    file: Path
    size: int


def collect(folder: Path) -> list[Packed]:
    """What of ``folder`` goes along, sorted by path.

    Left out is what its ``.trainjobignore`` names, else what ``.gitignore`` files in it name, and always
    :data:`ALWAYS_LEFT_OUT`. :class:`InputError` names a symbolic link, a file that is none, a name that can't travel,
    and too much of it all.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - a name that is too long is no folder either
        raise InputError(f"There is no folder {folder}.", remedy="Check the path.")
    found: list[Packed] = []
    for one in _walk(folder, "", _Rules(folder)):
        found.append(one)
        if len(found) > MAX_FILES:
            raise _too_much(folder, f"more than {MAX_FILES} files", found, by_size=False)
    total = sum(one.size for one in found)
    if total > MAX_BYTES:
        raise _too_much(folder, f"{size_text(total)}, more than {size_text(MAX_BYTES)}", found, by_size=True)
    if not found:
        raise InputError(f"The folder {folder} has no file to send.", remedy=f"Check its {OWN_RULES} or {GIT_RULES}.")
    return sorted(found, key=lambda one: one.path)


class _Rules:
    """What is left out, as git reads its own rules: the deepest file that says something about a path decides."""

    def __init__(self, folder: Path) -> None:
        import pathspec

        self._read = pathspec.GitIgnoreSpec.from_lines
        self._folder = folder
        self._own = (folder / OWN_RULES).is_file()
        self._specs: list[tuple[str, pathspec.GitIgnoreSpec]] = []
        if self._own:
            self.enter("", OWN_RULES)

    def enter(self, below: str, name: str = GIT_RULES) -> None:
        """Take in the rules of the folder ``below`` (``""`` or ``"a/b/"``)."""
        file = self._folder / below / name
        if (name == GIT_RULES and self._own) or not file.is_file():
            return
        try:
            self._specs.append((below, self._read(file.read_text("utf-8").splitlines())))
        except (OSError, ValueError) as error:  # not UTF-8 is a ValueError, so is a pattern that is none
            raise InputError(f"{below}{name} can't be read: {error}.", remedy="Mend it.") from None

    def leaves_out(self, path: str) -> bool:
        """Whether ``path`` (a folder ends with ``/``) stays here."""
        for below, spec in reversed(self._specs):
            if path.startswith(below):
                said = spec.check_file(path[len(below) :]).include
                if said is not None:
                    return bool(said)
        return False


def _walk(folder: Path, below: str, rules: _Rules) -> Iterator[Packed]:
    try:
        rules.enter(below)
        with os.scandir(folder / below) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise not_read(folder / below, error) from error
    for entry in here:
        path = below + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in ALWAYS_LEFT_OUT or rules.leaves_out(path + "/" if is_folder else path):
            continue
        remedy = f"Leave it out by a line in {OWN_RULES}"
        if entry.is_symlink():
            raise InputError(
                f"{path} in {folder} is a symbolic link, and links are not sent.",
                remedy=f"{remedy}, or put a copy of what it points to in its place.",
            )
        if not _sayable(path):
            raise InputError(
                f"{path!r} in {folder} has a backslash, a control character or no UTF-8 in its name.",
                remedy=f"Rename it. {remedy}.",
            )
        if is_folder:
            yield from _walk(folder, path + "/", rules)
            continue
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} in {folder} is neither a file nor a folder.", remedy=f"{remedy}.")
        yield Packed(path, Path(entry.path), status.st_size)


def _sayable(path: str) -> bool:
    """Whether every machine can have such a name."""
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 come as lone surrogates
        return False
    return "\\" not in path and not any(ord(sign) < 32 or ord(sign) == 127 for sign in path)


def _too_much(folder: Path, what: str, found: Sequence[Packed], *, by_size: bool) -> InputError:
    parts: Counter[str] = Counter()
    for one in found:
        parts[PurePosixPath(one.path).parts[0]] += one.size if by_size else 1
    most, amount = parts.most_common(1)[0]
    said = size_text(amount) if by_size else count_text(amount, "file")
    return InputError(
        f"The folder {folder} has {what}; most are in {most} ({said}).",
        remedy=f"Leave out what the job does not need: write {most} into {folder / OWN_RULES}.",
    )


def check_entry(folder: Path, entry: Union[str, None], found: Iterable[Packed]) -> str:
    """``entry`` as the path in the folder that runs; :class:`InputError` says why it can't."""
    paths = [one.path for one in found]
    runnable = [path for path in paths if path.endswith(ENTRIES)]
    there = ", ".join(sorted(runnable, key=lambda path: (path.count("/"), path))[:10]) or "no such file"
    if not entry:
        raise InputError(f"Which file of {folder} runs?", remedy=f"Name it with --entry; there is: {there}.")
    path = PurePosixPath(entry.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or entry.startswith("~"):
        raise InputError(
            f"--entry {entry} lies outside of {folder}.", remedy=f"Write its path in the folder; there is: {there}."
        )
    if not str(path).endswith(ENTRIES):
        raise InputError(
            f"--entry {entry} is nothing that can run; that ends in {', '.join(ENTRIES)}.", remedy=f"There is: {there}."
        )
    if str(path) in paths:
        return str(path)
    if os.path.isfile(folder / path):  # noqa: PTH113 - as above
        raise InputError(
            f"--entry {entry} is left out of what is sent, by {OWN_RULES} or {GIT_RULES}.",
            remedy="Take away the line that leaves it out.",
        )
    near = next((one for one in runnable if str(path).endswith("/" + one)), None)
    near = near or next(iter(difflib.get_close_matches(str(path), runnable, n=1)), None)
    hint = f"Did you mean {near}? " if near else ""
    raise InputError(f"--entry {entry}: there is no such file in {folder}.", remedy=f"{hint}There is: {there}.")


def pack(found: Iterable[Packed], to: BinaryIO) -> None:
    """Write the .tar.gz. The same files make the same bytes: neither times nor owners are in it.

    :class:`InputError` names a file that changed its size meanwhile.
    """
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=to, compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for one in found:
            info = tarfile.TarInfo(one.path)
            info.mode = 0o755 if os.access(one.file, os.X_OK) else 0o644
            try:
                with one.file.open("rb") as content:
                    info.size = os.fstat(content.fileno()).st_size
                    archive.addfile(info, content)
            except OSError as error:
                reason = error.strerror or "it became shorter while it was read"
                raise InputError(f"{one.path} can't be sent: {reason}.", remedy="Submit again.") from error


def told(found: Sequence[Packed]) -> str:
    """``12 files, 3.4 MiB``."""
    return f"{count_text(len(found), 'file')}, {size_text(sum(one.size for one in found))}"


def script(path: Path) -> bytes:
    """A script's bytes; :class:`InputError` where it is none."""
    if path.suffix not in SCRIPTS:
        raise InputError(
            f"{path} is nothing that can be submitted: that is a notebook (.ipynb), a script ({', '.join(SCRIPTS)}) "
            "or a folder.",
            remedy="Rename it, or name another.",
        )
    try:
        return read_plain(path)
    except FileNotFoundError:
        raise InputError(f"There is no script {path}.", remedy="Check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder.", remedy="Name the script in it with --entry.") from None
    except OSError as error:
        raise not_read(path, error) from error
