"""Where packs are read from: paths, bytes, file objects, fsspec URLs; which bytes are read, and when."""

import errno
import io
import mmap
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from dsetpack import formats
from dsetpack.formats import DsetpackError, FormatError, Reader
from tests.support.format_packs import images, large_pack, same


@pytest.fixture(scope="module")
def large():
    return large_pack()


class Trickling(io.BytesIO):
    """A raw file that gives at most 7 bytes at a time."""

    def read(self, size=-1):
        return super().read(min(size, 7) if size >= 0 else 7)


def sources_of(where):
    with Reader(where) as reader:
        return reader.tensor("sources")


def test_path_bytes_and_file_objects(large, tmp_path):
    data, sources = large
    path = tmp_path / "x.dpk"
    path.write_bytes(data)
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        for where in (
            path,
            str(path),
            data,
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            file,
            raw,
            Trickling(data),
        ):
            assert same(sources_of(where), sources)
        assert not file.closed  # the caller's files stay open
    formats.verify(path.open("rb"))


def test_fsspec_memory(large):
    data, sources = large
    with fsspec.open("memory://dir/x.dpk", "wb") as file:
        file.write(data)
    assert same(sources_of("memory://dir/x.dpk"), sources)
    formats.verify("memory://dir/x.dpk")
    with pytest.raises(FileNotFoundError, match=r"memory://dir/none\.dpk"):
        Reader("memory://dir/none.dpk")


def test_file_urls(large, tmp_path):
    (tmp_path / "x.dpk").write_bytes(large[0])
    assert same(sources_of(f"file://{tmp_path}/x.dpk"), large[1])


class Handler(BaseHTTPRequestHandler):
    """Serves one file; ``server.ranges`` says whether byte ranges work."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append((self.command, asked))
        if self.path != "/x.dpk":
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = server.data
        if asked and server.ranges:
            start, stop = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", asked).groups())
            piece = data[start : stop + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(piece) - 1}/{len(data)}")
        else:
            piece = data
            self.send_response(200)
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if body:
            self.wfile.write(piece)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    pytest.importorskip("aiohttp")
    servers = []

    def start(data, ranges=True):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.data, server.ranges, server.requests = data, ranges, []
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server, f"http://127.0.0.1:{server.server_port}/x.dpk"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_http_with_ranges(serve, large):
    data, sources = large
    server, url = serve(data)
    with Reader(url) as reader:
        gets = [asked for command, asked in server.requests if command == "GET"]
        assert gets == ["bytes=0-8191"]
        assert len(server.requests) <= 2  # the other asks for the size
        server.requests.clear()
        assert same(reader.tensor("sources"), sources)
        chunks = reader.manifest.datasets["sources"].chunks
        starts = sorted(int(asked.split("=")[1].split("-")[0]) for _, asked in server.requests)
        assert starts == [reader.header.user_block + c.offset for c in chunks]
    formats.verify(url)


def test_a_small_pack_takes_one_range(serve):
    data = images()
    assert len(data) < 8192
    server, url = serve(data)
    with Reader(url, verify="all") as reader:
        assert same(reader.tensor("sources"), Reader(data).tensor("sources"))
    assert [command for command, _ in server.requests].count("GET") == 1


def test_http_without_ranges(serve, large):
    """The whole file comes at once, and is kept."""
    data, sources = large
    server, url = serve(data, ranges=False)
    with Reader(url, verify="all") as reader:
        assert same(reader.tensor("sources"), sources)
    assert [command for command, _ in server.requests].count("GET") == 1


def test_http_without_ranges_and_not_the_whole_file(serve, large, monkeypatch):
    _, url = serve(large[0], ranges=False)
    monkeypatch.setattr("dsetpack.formats.source.UrlSource.size", lambda _: len(large[0]) + 1)
    with pytest.raises(DsetpackError, match=r"the server ignores range requests .* download the file and open it"):
        Reader(url)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("cache", ["filecache", "simplecache", "blockcache"])
def test_through_the_caches_of_fsspec(serve, large, tmp_path, monkeypatch, cache, ranges):
    monkeypatch.setattr("fsspec.config.conf", {cache: {"cache_storage": str(tmp_path / "cache")}})
    data, sources = large
    _, url = serve(data, ranges=ranges)
    for _ in range(2):  # the second time from the cache
        with Reader(f"{cache}::{url}", verify="all") as reader:
            assert same(reader.tensor("sources"), sources)
    formats.verify(f"{cache}::{url}")


def test_http_errors_name_the_address(serve, large):
    _, url = serve(large[0])
    with pytest.raises(FileNotFoundError, match=r"127.0.0.1:\d+/none.dpk"):
        Reader(url.replace("x.dpk", "none.dpk"))
    with pytest.raises(DsetpackError, match=r"http://127\.0\.0\.1:9/x\.dpk: cannot be read"):
        Reader("http://127.0.0.1:9/x.dpk")
    with pytest.raises(DsetpackError, match="nosuch://x: cannot be opened: "):
        Reader("nosuch://x")


def test_a_directory(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        Reader(tmp_path)
    assert caught.value.errno == errno.EISDIR
    assert caught.value.filename == str(tmp_path)


def test_a_missing_file(tmp_path):
    for where in (tmp_path / "none.dpk", tmp_path / "no" / "none.dpk"):
        with pytest.raises(FileNotFoundError) as caught:
            Reader(where)
        assert str(where) in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "x.dpk"
    path.write_bytes(images())
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything: read as another user
        for parent in (tmp_path, *tmp_path.parents):
            if not parent.stat().st_mode & 1 and parent.owner() == "root" and parent.name.startswith("pytest"):
                parent.chmod(0o755)
        code = (
            "import os, sys; from dsetpack.formats import Reader; os.setgid(65534); os.setuid(65534)\n"
            "try: Reader(sys.argv[1])\n"
            "except PermissionError as error: assert error.filename == sys.argv[1], error; print('refused')"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert done.stdout == "refused\n", done.stderr
    else:
        with pytest.raises(PermissionError) as caught:
            Reader(path)
        assert caught.value.filename == str(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="pipe: not a regular file; read it into memory"):
        Reader(tmp_path / "pipe")
    with pytest.raises(FormatError, match="/dev/zero: not a regular file"):
        Reader("/dev/zero")


def test_things_that_are_no_files():
    with pytest.raises(TypeError, match="a path, URL, bytes or binary file object expected, not int"):
        Reader(3)
    with pytest.raises(TypeError, match="a binary file expected; it reads str"):
        Reader(io.StringIO("text"))


def test_text_files_and_memory_maps(tmp_path):
    path = tmp_path / "x.dpk"
    path.write_bytes(images())
    with path.open(encoding="latin-1") as file, pytest.raises(TypeError, match="a binary file expected; it reads str"):
        Reader(file)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert Reader(mapped).digest == Reader(path).digest


FORKS = """
import os, sys
from dsetpack.formats import Reader
where = sys.argv[1]
reader, children = Reader(open(where, "rb") if sys.argv[2] == "file" else where), []
for n in range(3):
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if all(len(reader.tensor("sources")) == 500 for _ in range(5)) else 1)
        except Exception as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(2)
    children.append(pid)
assert len(reader.tensor("sources")) == 500
print([os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["path", "url", "file"])
def test_forked_children_read_what_the_parent_opened(kind, large, tmp_path, serve):
    """By position from a path, by a connection of their own from a URL; a file object's position would be shared."""
    path = tmp_path / "x.dpk"
    path.write_bytes(large[0])
    where = serve(large[0])[1] if kind == "url" else str(path)
    done = subprocess.run([sys.executable, "-c", FORKS, where, kind], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("[2, 2, 2]" if kind == "file" else "[0, 0, 0]"), done.stderr
    if kind == "file":
        assert done.stderr.count("whose position it shares: open the file by its path") == 3


def test_handles_are_released(large, tmp_path):
    path = tmp_path / "x.dpk"
    path.write_bytes(large[0])
    handles = lambda: len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: E731, PTH208, PTH112
    before = handles()
    for _ in range(20):
        Reader(path)
    with Reader(path) as reader:
        pass
    with pytest.raises(ValueError, match="read after close"):
        reader.tensor("sources")
    bad = tmp_path / "bad.dpk"
    bad.write_bytes(large[0][:-1])
    for _ in range(5):
        with pytest.raises(formats.IntegrityError):
            Reader(bad)
    assert handles() == before
