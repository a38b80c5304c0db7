"""A stand-in for the Hugging Face Hub: the endpoints that ``huggingface_hub`` calls, over HTTP, in this process.

It keeps repositories with commits and branches in memory, and can be told to misbehave. It takes files as git blobs or
through git-LFS: on the Hub ``.gitattributes`` decides, here every file of 1,000 bytes or more goes through LFS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_stand_in"
LARGE = 1000
Files = dict[str, bytes]


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: Files, message: str, deleted: tuple[str, ...] = ()) -> str:
        parent = self.branches.get(branch, "")
        kept = {path: data for path, data in self.commits.get(parent, {}).items() if path not in deleted}
        whole = {**kept, **files}
        content = repr([(k, hashlib.sha1(v).hexdigest()) for k, v in sorted(whole.items())])
        oid = hashlib.sha1(f"{parent}{len(self.commits)}{content}".encode()).hexdigest()
        self.commits[oid], self.branches[branch] = whole, oid
        self.messages.append(message)
        return oid

    def find(self, revision: str) -> str | None:
        oid = self.branches.get(revision, revision)
        return oid if oid in self.commits else None


@dataclass
class Hub:
    """What the server knows, what it was asked, and how it should misbehave.

    ``cuts``: the number of downloads whose connection drops after half of the body; ``silent``: these send none of
    the body; ``damage``: the number of downloads with one changed byte; ``refuse_commits``: answer with HTTP 500.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: Files = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    cuts: int = 0
    silent: bool = False
    damage: int = 0
    refuse_commits: bool = False

    def asked(self, method: str, part: str) -> list[tuple[str, str, str]]:
        return [row for row in self.requests if row[0] == method and part in row[1]]


class _RefusedError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: Any) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append((method, path, self.headers.get("Range") or ""))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            for pattern, methods, action in _ROUTES:
                if (match := re.fullmatch(pattern, path)) and method in methods:
                    return action(self, *(unquote(group or "") for group in match.groups()), body)
            raise _RefusedError(404, message=f"no endpoint {method} {path}")
        except _RefusedError as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._send(refused.status, {"error": refused.message}, {k: v for k, v in headers.items() if v})

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for key, text in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _may(self, *, write: bool = False, private: bool = False) -> bool:
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if write and not known:
            raise _RefusedError(401, message="Invalid credentials in Authorization header")
        return known or not private

    def _repository(self, name: str, *, write: bool = False) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or not self._may(write=write, private=found.private):
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            raise _RefusedError(404 if known else 401, "RepoNotFound", "Repository not found")
        return found

    def _commit_of(self, repository: Repository, revision: str) -> str:
        if (oid := repository.find(revision)) is None:
            raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        self._may(write=True)
        assert asked["type"] == "dataset"
        if name in self.hub.repositories:
            url = f"{self.hub.url}/datasets/{name}"
            return self._send(409, {"error": "You already created this dataset repo", "url": url})
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.repositories[name] = made = Repository(private=private)
        made.commit("main", {".gitattributes": b"*.h5 filter=lfs\n"}, "initial commit")
        return self._send(200, {"url": f"{self.hub.url}/datasets/{name}", "name": name})

    def branch(self, name: str, branch: str, body: bytes) -> None:
        repository = self._repository(name, write=True)
        if branch in repository.branches:
            raise _RefusedError(409, message="Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        self._send(200, {})

    def info(self, name: str, revision: str, body: bytes) -> None:
        repository = self._repository(name)
        oid = self._commit_of(repository, revision or "main")
        siblings = [{"rfilename": path} for path in sorted(repository.commits[oid])]
        self._send(200, {"id": name, "sha": oid, "private": repository.private, "siblings": siblings})

    def latest(self, name: str, body: bytes) -> None:
        self.info(name, "", body)

    def validate(self, body: bytes) -> None:
        """Require front matter that is YAML. The Hub also checks the licence and sizes against its lists."""
        try:
            front = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            errors = [] if isinstance(front, dict) else [{"message": "no metadata"}]
        except yaml.YAMLError as error:
            errors = [{"message": str(error)}]
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, name: str, revision: str, body: bytes) -> None:
        repository = self._repository(name, write=True)
        present = repository.commits[self._commit_of(repository, revision)]
        rows = []
        for file in json.loads(body)["files"]:
            mode = (
                "lfs" if file["size"] >= LARGE and not file["path"].endswith((".md", ".json", ".jsonld")) else "regular"
            )
            row = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            if file["path"] in present:
                row["oid"] = _oid(present[file["path"]], mode)
            rows.append(row)
        self._send(200, {"files": rows})

    def batch(self, name: str, body: bytes) -> None:
        self._repository(name, write=True)
        objects = []
        for item in json.loads(body)["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.large:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
            objects.append(entry)
        self._send(200, {"transfer": "basic", "objects": objects})

    def store(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise _RefusedError(400, message="the object's SHA-256 is another")
        self.hub.large[oid] = body
        self._send(200, {})

    def commit(self, name: str, revision: str, body: bytes) -> None:
        repository = self._repository(name, write=True)
        if self.hub.refuse_commits:
            raise _RefusedError(500, message="Internal Error")
        self._commit_of(repository, revision)
        files: Files = {}
        deleted: tuple[str, ...] = ()
        message = ""
        for entry in map(json.loads, body.splitlines()):
            value = entry["value"]
            if entry["key"] == "header":
                message = f"{value['summary']}\n{value['description']}"
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                deleted += (value["path"],)
        oid = repository.commit(revision, files, message, deleted)
        self._send(
            200, {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/datasets/{name}/commit/{oid}"}
        )

    def tree(self, name: str, revision: str, _folder: str, body: bytes) -> None:
        repository = self._repository(name)
        files = repository.commits[self._commit_of(repository, revision)]
        self._send(200, [_entry(path, data) for path, data in sorted(files.items())])

    def paths(self, name: str, revision: str, body: bytes) -> None:
        repository = self._repository(name)
        files = repository.commits[self._commit_of(repository, revision)]
        asked = json.loads(body)["paths"]
        self._send(200, [_entry(path, files[path]) for path in asked if path in files])

    def resolve(self, name: str, revision: str, path: str, body: bytes) -> None:
        repository = self._repository(name)
        oid = self._commit_of(repository, revision)
        headers = {"X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if path not in repository.commits[oid]:
            self._send(404, {"error": "Entry not found"}, {**headers, "X-Error-Code": "EntryNotFound"})
            return None
        data = repository.commits[oid][path]
        headers["ETag"] = f'"{_oid(data, "lfs" if len(data) >= LARGE else "regular")}"'
        status = 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(match[1]), int(match[2]) if match[2] else len(data) - 1
            headers["Content-Range"] = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
            status, data = 206, data[first : last + 1]
        if self.command == "GET" and self.hub.damage:
            self.hub.damage -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.command == "GET" and self.hub.cuts:
            self.hub.cuts -= 1
            return self._drop(status, data, headers)
        return self._send(status, data, headers)

    def _drop(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        """Promise all, send half, hang up."""
        self.send_response(status)
        for key, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, text)
        self.end_headers()
        self.wfile.write(b"" if self.hub.silent else data[: len(data) // 2])
        self.wfile.flush()
        self.close_connection = True


def _oid(data: bytes, mode: str) -> str:
    """The SHA-256 of a large file; the SHA-1 of the git blob of any other file."""
    if mode == "lfs":
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(data), "oid": _oid(data, "regular")}


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: list[tuple[str, tuple[str, ...], Any]] = [
    (r"/api/repos/create", ("POST",), _Handler.create),
    (r"/api/validate-yaml", ("POST",), _Handler.validate),
    (rf"/api/datasets/{_NAME}", ("GET",), _Handler.latest),
    (rf"/api/datasets/{_NAME}/revision/([^/]+)", ("GET",), _Handler.info),
    (rf"/api/datasets/{_NAME}/branch/([^/]+)", ("POST",), _Handler.branch),
    (rf"/api/datasets/{_NAME}/preupload/([^/]+)", ("POST",), _Handler.preupload),
    (rf"/api/datasets/{_NAME}/commit/([^/]+)", ("POST",), _Handler.commit),
    (rf"/api/datasets/{_NAME}/tree/([^/]+)(/.*)?", ("GET",), _Handler.tree),
    (rf"/api/datasets/{_NAME}/paths-info/([^/]+)", ("POST",), _Handler.paths),
    (rf"/datasets/{_NAME}\.git/info/lfs/objects/batch", ("POST",), _Handler.batch),
    (rf"/datasets/{_NAME}/resolve/([^/]+)/(.+)", ("GET", "HEAD"), _Handler.resolve),
    (r"/lfs/([0-9a-f]{64})", ("PUT",), _Handler.store),
]


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the server until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def pointed_at(hub: Hub, folder: Any, patch: Any, token: str | None = TOKEN) -> Iterator[None]:
    """Point ``huggingface_hub``, in this process and those it starts, to the stand-in, with a separate cache."""
    from huggingface_hub import constants

    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    for key, value in environment.items():
        patch.setenv(key, value)
    patch.delenv("HF_TOKEN", raising=False)
    if token is not None:
        patch.setenv("HF_TOKEN", token)
    patch.setattr(constants, "ENDPOINT", hub.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield
