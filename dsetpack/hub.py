"""Packs in data set repositories of the Hugging Face Hub: pushed in one commit, pulled by pinned revision and digest.

``huggingface_hub`` (extra ``hub``) speaks to the Hub, with its tokens, its cache, its retries and resumed downloads,
and its environment variables (``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME``, ...). Only a push with a preview, which has
decoded images, imports torch.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsetpack.cards import Facts, Preview, croissant, facts, markdown
from dsetpack.cards.croissant import SUFFIX, dumps
from dsetpack.cards.facts import base_name
from dsetpack.cards.markdown import mark
from dsetpack.formats import Reader, verify
from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError, at
from dsetpack.formats.extras import need
from dsetpack.formats.model import printable
from dsetpack.formats.network import why
from dsetpack.formats.notices import notice
from dsetpack.formats.outputs import PACK, check_output
from dsetpack.formats.progress import Work, display, steps

__all__ = ["Pulled", "Pushed", "pull", "push"]

TYPE = "dataset"
CARD = "README.md"
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(f"{_PART}/{_PART}")
GENERATED = 10
"""Images per class that a generator draws for the preview, if its card does not say how many."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Pushed:
    """A pushed pack, and what pins it.

    Attributes:
        repository, file: the place of the pack.
        revision: the commit.
        digest: the pack's digest.
        url: the repository's page.
        card: whether ``README.md`` is now this pack's card; False if the repository has its own ``README.md``, which is
            kept.
        preview: the number of images in the preview; 0 if there is none.
    """

    repository: str
    file: str
    revision: str
    digest: str
    url: str
    card: bool
    preview: int


@dataclass(frozen=True)
class Pulled:
    """A pulled pack.

    Attributes:
        repository, file: the place of the pack.
        revision: the commit.
        digest: the pack's digest.
        size: the file's size in bytes.
    """

    repository: str
    file: str
    revision: str
    digest: str
    size: int


def push(
    path: str | os.PathLike[str], repository: str, *, revision: str | None = None, private: bool = False
) -> Pushed:
    """Verify a pack, and upload it with its card, its Croissant metadata and a preview in one commit.

    The preview is a Parquet table of at most 1,000 decoded images and their labels, which the Hub's viewer and
    ``datasets.load_dataset`` read. Where none can be made, a notice says why: without ``pyarrow`` (extra ``hf``), for
    images that are neither grey nor RGB, and for packs that keep only the recipe of their ZCA.

    Args:
        path: a ``.dpk`` file; the file in the repository has the same name.
        repository: ``OWNER/NAME``; it is created if it does not exist.
        revision: the branch to commit to, which is created if it does not exist; by default the main branch.
        private: create the repository as a private one; if it exists, it must be private.

    Raises:
        FormatError: if ``repository`` is not ``OWNER/NAME``; nothing is asked then.
        DsetpackError: if the file is not a sound pack, if ``huggingface_hub`` is missing, or if the Hub refuses. Then
            nothing was committed.
        OSError: if the file cannot be read.
    """
    hub, name = _library(), base_name(os.fspath(path))
    if not name.endswith(".dpk"):
        raise FormatError(f"{path}: a file name that ends in .dpk expected, by which others find the pack")
    _check_name(repository)
    verify(path)
    found = facts(path)
    table, preview = _preview(path, found)
    api = hub.HfApi()
    with at(repository):
        _prepare(api, repository, private)
    with at(f"{repository}: push"), _explained():
        if revision is not None:
            api.create_branch(repository, branch=revision, repo_type=TYPE, exist_ok=True)
        url = f"{api.endpoint}/datasets/{repository}"
        own_card = _card_is_ours(hub, repository, revision, name)
        files = {f"{_stem(name)}{SUFFIX}": dumps(croissant(found, url=url, preview=preview)).encode()}
        if own_card:
            files[CARD] = markdown(found, repository, preview).encode()
        operations = [hub.CommitOperationAdd(key, value) for key, value in files.items()]
        if preview is not None:
            operations.append(hub.CommitOperationAdd(preview.name, table))
        elif api.file_exists(repository, _preview_name(name), repo_type=TYPE, revision=revision):
            operations.append(hub.CommitOperationDelete(_preview_name(name)))  # it shows another pack
        with steps(f"upload {name}, {_megabytes(Path(path).stat().st_size)} MB"), _no_bars(hub):
            commit = api.create_commit(
                repository,
                [hub.CommitOperationAdd(name, os.fspath(path)), *operations],
                commit_message=f"{name}: {found.card.title}"[:200],
                commit_description=f"dsetpack digest {found.digest}",
                repo_type=TYPE,
                revision=revision,
            )
    shown = preview.images if preview else 0
    return Pushed(repository, name, str(commit.oid), found.digest, url, own_card, shown)


def pull(
    repository: str,
    out: str | os.PathLike[str] | None = None,
    *,
    file: str | None = None,
    revision: str | None = None,
    digest: str | None = None,
    force: bool = False,
) -> Pulled:
    """Download a pack, verify all of it, and only then write it to its place in one step.

    After an error, ``out`` is as it was.

    Args:
        repository: ``OWNER/NAME``.
        out: where to write the file; by default under its own name in the current folder. An existing pack is replaced.
        file: the file in the repository; it may be left out if there is only one ``.dpk``.
        revision: a commit, branch or tag; only a commit (40 digits) is sure to stay the same. By default the main
            branch.
        digest: the digest that the pack must have, ``sha256:...``.
        force: replace an existing file that is not a pack, too.

    Raises:
        FormatError: if ``repository`` is not ``OWNER/NAME``; nothing is asked then.
        IntegrityError: if the digest differs, or if the file is damaged.
        DsetpackError: if the repository, revision or file does not exist, if access is not permitted, if
            ``huggingface_hub`` is missing, if the connection fails, or if ``out`` is there and not a pack.
        OSError: if ``out`` cannot be written.
    """
    hub = _library()
    _check_name(repository)
    if out is not None:
        check_output(out, PACK, force=force)
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise FormatError(f"digest {digest!r}: 'sha256:' and 64 hexadecimal digits in lower case expected")
    place = f"{repository}@{revision}" if revision else repository
    if file is None or not _COMMIT.fullmatch(revision or ""):
        with at(place), _explained():
            info = hub.HfApi().repo_info(repository, repo_type=TYPE, revision=revision)
        revision = str(info.sha)
        with at(f"{repository}@{revision}"):
            file = _chosen(file, [entry.rfilename for entry in info.siblings or ()])
    assert revision is not None
    target = Path(base_name(file) if out is None else out)
    check_output(target, PACK, force=force)
    data, found = _download(hub, repository, file, revision, digest)
    write_atomically(target, data)
    return Pulled(repository, file, revision, found, len(data))


def _library() -> Any:
    return need("huggingface_hub", "hub")


def _check_name(repository: str) -> None:
    """Check the form of a repository's name by the Hub's rules, before anything is sent there."""
    if not _REPOSITORY.fullmatch(repository) or any(sign in repository for sign in ("--", "..")):
        raise FormatError(
            f"{printable(repository)!r}: not the name of a repository: OWNER/NAME expected, such as you/demo, of "
            "letters, digits, '-', '_' and '.'"
        )


def _errors() -> Any:
    return need("huggingface_hub.errors", "hub")


def _prepare(api: Any, repository: str, private: bool) -> None:
    """Make sure that the repository exists.

    Raises:
        DsetpackError: if the repository should be private and is public.
    """
    with at("push"), _explained():
        api.create_repo(repository, repo_type=TYPE, private=private or None, exist_ok=True)
        public = private and not api.repo_info(repository, repo_type=TYPE).private
    if public:
        raise DsetpackError("it is there already, and public: nothing was pushed; make it private first")


def _preview(path: str | os.PathLike[str], found: Facts) -> tuple[bytes, Preview | None]:
    """The preview's bytes and what cards say of it; without one, a notice says why."""
    try:
        need("pyarrow", "hf")
        from dsetpack.pack.opened import open_pack
        from dsetpack.unpack.hf import preview

        drawn = any(not part.stored and not part.images for part in found.parts)
        pack = open_pack(path, digest=found.digest, per_class=GENERATED if drawn else None)
        table, images = preview(pack)
    except DsetpackError as error:
        notice(f"{found.name}: pushed without a preview for the Hub's viewer and 'datasets': {error}")
        return b"", None
    return table, Preview(_preview_name(found.name), images, len(table), hashlib.sha256(table).hexdigest())


def _preview_name(name: str) -> str:
    """Where the preview of a pack lies. ``datasets`` takes the path for a pattern, so it has no special characters."""
    return f"preview/{re.sub(r'[^A-Za-z0-9._-]', '_', _stem(name))}.parquet"


def _stem(name: str) -> str:
    return name.removesuffix(".dpk")


def _card_is_ours(hub: Any, repository: str, revision: str | None, name: str) -> bool:
    """Whether ``README.md`` may be written: it does not exist, or it is the card of this file."""
    errors = _errors()
    try:
        path = hub.HfApi().hf_hub_download(repository, CARD, repo_type=TYPE, revision=revision)
    except errors.LocalEntryNotFoundError:  # the Hub was not reached, so it is not known
        raise
    except errors.EntryNotFoundError:
        return True
    return mark(name) in Path(path).read_text(encoding="utf-8", errors="replace")


def _chosen(file: str | None, names: Sequence[str]) -> str:
    packs = [name for name in names if name.endswith(".dpk")]
    listed = printable(", ".join(packs)) or "none"
    if file is None:
        if len(packs) != 1:
            raise DsetpackError(f"{len(packs)} .dpk files, one expected: say which FILE; there are: {listed}")
        return packs[0]
    if file not in names:
        raise DsetpackError(f"no file {file!r}; its .dpk files: {listed}")
    return file


def _download(hub: Any, repository: str, file: str, revision: str, digest: str | None) -> tuple[bytes, str]:
    """The file's bytes, verified, and its digest. If the cached copy is damaged, it is downloaded once more."""
    place = f"{repository}@{revision}/{printable(file)}"
    try:
        data = _fetched(hub, repository, file, revision, again=False)
        found = _verified(data, place)
    except (FormatError, IntegrityError):
        data = _fetched(hub, repository, file, revision, again=True)
        found = _verified(data, place)
    if digest not in (None, found):
        raise IntegrityError(f"{place}: digest {found} found, {digest} expected: another pack; nothing was written")
    return data, found


def _fetched(hub: Any, repository: str, file: str, revision: str, *, again: bool) -> bytes:
    with at(f"{repository}@{revision}/{printable(file)}"), _explained():
        with steps(f"download {base_name(file)}") as work:
            path = hub.HfApi().hf_hub_download(
                repository,
                file,
                repo_type=TYPE,
                revision=revision,
                force_download=again,
                tqdm_class=None if display() is None else _counter(hub, work),
            )
        return Path(path).read_bytes()


def _counter(hub: Any, work: Work) -> Any:
    """A class for ``huggingface_hub``'s bars that shows nothing itself, and tells the work how far the download is."""

    class Counter(hub.utils.tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self.bytes = options.get("initial") or 0
            if options.get("total"):
                work.total, work.unit = _megabytes(options["total"]), "MB"

        def update(self, n: float | None = 1) -> None:
            self.bytes += n or 0
            work.done = max(work.done, _megabytes(self.bytes))  # there may be a second bar, of bytes on the way

    return Counter


@contextmanager
def _no_bars(hub: Any) -> Iterator[None]:
    """Without the bars of ``huggingface_hub``, if there is a display of our own."""
    if display() is None or hub.utils.are_progress_bars_disabled():
        yield
        return
    hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        hub.utils.enable_progress_bars()


def _megabytes(size: float) -> int:
    return -int(-size // 10**6)


def _verified(data: bytes, place: str) -> str:
    """Check the whole pack, and return its digest."""
    verify(_Named(data, place))
    with Reader(_Named(data, place)) as reader:
        return reader.digest


class _Named(io.BytesIO):
    """Bytes with a name, which says in messages where they come from."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the errors of ``huggingface_hub`` into one DsetpackError that says what to do."""
    try:
        yield
    except DsetpackError:
        raise
    except Exception as error:  # the HTTP library below, and so its errors, depend on the version
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise  # it is about a local file
        raise DsetpackError(_reason(error)) from error


def _reason(error: Exception) -> str:
    errors = _errors()
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = printable(" ".join(str(error).split()))
    login = "log in with 'hf auth login', or set HF_TOKEN"
    if isinstance(error, errors.HFValidationError):
        return f"not the name of a repository: OWNER/NAME expected, of letters, digits, '-', '_' and '.' ({said})"
    if isinstance(error, errors.GatedRepoError):
        return f"the repository is gated: ask for access on its page, and {login}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision (commit, branch or tag)"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return "no such file"
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return f"no such data set repository, or a private one: check the name; for a private one {login}"
    if status in (401, 403):
        return f"not allowed (HTTP status {status}): {login}, with a token that may do this ({said})"
    if status is not None:
        return f"the Hub answers with HTTP status {status}: {said}"
    named = f"{type(error).__name__}: {said}"
    if isinstance(error, OSError) or type(error).__module__.startswith(("http", "requests", "urllib3")):
        return f"the connection failed, and nothing was written: run it again; {why(error)}"
    return f"huggingface_hub failed ({named})"
