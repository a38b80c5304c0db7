"""Packs pushed to, pulled from and opened on the Hub: a stand-in speaks its HTTP and fails in every way it can."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

import dsetpack
from dsetpack import cards, hub
from dsetpack.cli import main
from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError
from dsetpack.formats.notices import Notice
from dsetpack.formats.progress import display, shown

pytest.importorskip("huggingface_hub")
from tests.support.displays import Recorder
from tests.support.hub_stand_in import TOKEN, Hub, pointed_at, serving
from tests.support.paths import GOLDEN, KFS, SAMPLE

WRONG = "sha256:" + "0" * 64
PREVIEW = "preview/demo.parquet"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder, with a pack in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copy(KFS, folder / "demo.dpk")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def server(tmp_path, place, monkeypatch):
    """The stand-in that ``huggingface_hub`` uses as the Hub; there is no waiting between tries."""
    import huggingface_hub.file_download
    import huggingface_hub.utils._http as http

    for module in (huggingface_hub.file_download, http):
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    # This check starts a process each time and has its own tests; only the test of a whole process runs it.
    monkeypatch.setattr(importlib.import_module("dsetpack.formats.verify"), "_check_view", lambda *found: None)
    with serving() as found, pointed_at(found, tmp_path / "hf", monkeypatch):
        yield found


@pytest.fixture
def pushed(server) -> hub.Pushed:
    return hub.push("demo.dpk", "me/demo")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [*map(str, arguments)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files(server: Hub, repository: str = "me/demo", branch: str = "main") -> dict[str, bytes]:
    found = server.repositories[repository]
    return found.commits[found.branches[branch]]


def test_push_is_one_commit_of_pack_card_croissant_and_preview(server, pushed):
    found = files(server)
    assert set(found) == {".gitattributes", "demo.dpk", "README.md", "demo.croissant.jsonld", PREVIEW}
    assert found["demo.dpk"] == KFS.read_bytes()
    facts, table = cards.facts("demo.dpk"), found[PREVIEW]
    preview = cards.Preview(PREVIEW, 280, len(table), hashlib.sha256(table).hexdigest())
    assert pushed.preview == 280
    assert found["README.md"].decode() == cards.markdown(facts, "me/demo", preview)
    croissant = json.loads(found["demo.croissant.jsonld"])
    assert croissant["url"] == pushed.url == f"{server.url}/datasets/me/demo"
    assert [file["sha256"] for file in croissant["distribution"]] == [facts.sha256, preview.sha256]
    repository = server.repositories["me/demo"]
    assert len(repository.commits) == 2  # the empty one, and ours
    assert pushed.revision == repository.branches["main"]
    assert repository.messages[-1] == f"demo.dpk: {facts.card.title}\ndsetpack digest {facts.digest}"
    assert pushed.digest == facts.digest
    assert len(server.large) == 2  # the pack and the preview, through git-LFS


def test_push_again_changes_nothing(server, pushed):
    assert hub.push("demo.dpk", "me/demo") == pushed
    assert len(server.repositories["me/demo"].commits) == 2


def test_push_to_a_branch(server):
    done = hub.push("demo.dpk", "me/demo", revision="v1")
    assert done.revision == server.repositories["me/demo"].branches["v1"]
    assert "demo.dpk" in files(server, branch="v1")
    assert "demo.dpk" not in files(server)
    assert hub.pull("me/demo", "x.dpk", revision="v1").revision == done.revision


def test_private_means_private(server, pushed, monkeypatch):
    hub.push("demo.dpk", "me/secret", private=True)
    assert server.repositories["me/secret"].private
    with pytest.raises(DsetpackError, match="me/demo: it is there already, and public: nothing was pushed"):
        hub.push("demo.dpk", "me/demo", private=True)
    assert len(server.repositories["me/demo"].commits) == 2
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(DsetpackError, match="no such data set repository, or a private one.*'hf auth login'"):
        hub.pull("me/secret", "x.dpk")


def test_a_card_of_their_own_stays(server, pushed, place):
    repository = server.repositories["me/demo"]
    repository.commit("main", {"README.md": b"---\nlicense: mit\n---\nWritten by hand.\n"}, "mine")
    changed = dsetpack.open("demo.dpk").replace_card(title="Changed")
    changed.save("demo.dpk", encoding="int8")
    done = run("push", "demo.dpk", "me/demo")
    assert done.exit_code == 0, done.output
    assert "README.md stays as it is: it is not the card of demo.dpk" in done.output
    assert b"Written by hand." in files(server)["README.md"]
    assert files(server)["demo.dpk"] == (place / "demo.dpk").read_bytes()


def test_a_card_of_ours_is_renewed(server, pushed):
    dsetpack.open("demo.dpk").replace_card(title="Changed").save("demo.dpk", encoding="int8")
    assert hub.push("demo.dpk", "me/demo").card
    assert b"# Changed\n" in files(server)["README.md"]


def test_the_preview_has_the_images_and_labels_of_the_pack(server, pushed):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(io.BytesIO(files(server)[PREVIEW])).to_pylist()
    pack = dsetpack.open("demo.dpk")
    images, labels = pack.decode(range(280))
    assert [row["label"] for row in rows] == labels.tolist()
    raw = pack.space.invert(images).clamp(0, 1)[:, 0]
    seen = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows])
    assert np.abs(seen / 255 - raw.numpy()).max() <= 0.501 / 255


def test_without_a_preview_one_line_says_why_and_an_older_preview_goes(server, pushed, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run("push", "demo.dpk", "me/demo")
    assert done.exit_code == 0, done.output
    said = (
        "note: demo.dpk: pushed without a preview for the Hub's viewer and 'datasets': this needs the package pyarrow"
    )
    (note,) = (line for line in done.output.splitlines() if line.startswith("note: "))
    assert note.startswith(said)
    assert note.endswith("pip install 'dsetpack[hf]'")
    found = files(server)
    assert set(found) == {".gitattributes", "demo.dpk", "README.md", "demo.croissant.jsonld"}
    assert found["README.md"].decode() == cards.markdown(cards.facts("demo.dpk"), "me/demo")
    assert b"viewer: false" in found["README.md"]


def test_images_that_are_no_pictures_are_pushed_without_a_preview(server, place):
    images = np.random.default_rng(0).random((6, 2, 4, 4), dtype=np.float32)
    dsetpack.Pack.from_arrays(images, np.arange(6) % 3, title="two channels").save("two.dpk")
    with pytest.warns(Notice, match="two.dpk: pushed without a preview .* 2 channels; a picture has 1 or 3"):
        assert hub.push("two.dpk", "me/two").preview == 0
    assert "two.dpk" in files(server, "me/two")


def test_a_generator_that_does_not_say_how_many_is_shown_with_ten_per_class(server, place):
    from dsetpack.formats import Reader, write

    with Reader(GOLDEN / "v1.0" / "kind-generator.dpk") as reader:
        manifest = reader.manifest
        tensors = {name: reader.tensor(name) for name in manifest.tensors}
    write("drawn.dpk", manifest.card.replace(per_class=None), manifest.parts, tensors)
    assert hub.push("drawn.dpk", "me/drawn").preview == 10 * len(manifest.card.classes)


@pytest.mark.parametrize("name", ["a b.dpk", "x[1].dpk", "*.dpk", "é.dpk"])
def test_a_previews_path_is_no_pattern(server, place, name):
    shutil.copy("demo.dpk", name)
    hub.push(name, "me/odd")
    (path,) = (path for path in files(server, "me/odd") if path.startswith("preview/"))
    assert re.fullmatch(r"preview/[A-Za-z0-9._-]+\.parquet", path)
    (config,) = yaml.safe_load(files(server, "me/odd")["README.md"].decode().split("---\n")[1])["configs"]
    assert config["data_files"] == [{"split": "train", "path": path}]


def test_mlcroissant_reads_every_record_set_that_was_pushed(server, pushed, tmp_path, caplog):
    mlcroissant = pytest.importorskip("mlcroissant")
    for name, data in files(server).items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    read = mlcroissant.Dataset(jsonld=tmp_path / "copy" / "demo.croissant.jsonld")
    records = {one.id: list(read.records(one.id)) for one in read.metadata.record_sets}
    assert {name: len(rows) for name, rows in records.items()} == {"classes": 10, "parts": 1, "preview": 280}
    assert [row["preview/label"] for row in records["preview"]] == dsetpack.open("demo.dpk").labels.tolist()
    assert records["preview"][0]["preview/image"].size == (28, 28)
    assert not read.metadata.ctx.issues.warnings
    assert not caplog.records


def test_what_push_prints_pulls(server, place):
    done = run("push", "demo.dpk", "me/demo")
    assert done.exit_code == 0, done.output
    command = next(line for line in done.output.splitlines() if line.startswith("dsetpack pull")).split()[1:]
    (place / "demo.dpk").unlink()
    pulled = run(*command)
    assert pulled.exit_code == 0, pulled.output
    assert pulled.output.startswith("demo.dpk: 10,725 bytes, verified\n")
    assert (place / "demo.dpk").read_bytes() == KFS.read_bytes()
    opened = next(line for line in done.output.splitlines() if line.startswith("dsetpack.open"))
    assert len(eval(opened, {"dsetpack": dsetpack})) == 280


def test_a_transfer_says_how_far_it_is_and_the_library_shows_nothing_meanwhile(server, place, monkeypatch):
    utils, shows = importlib.import_module("huggingface_hub.utils"), []
    begin = utils.tqdm.__init__

    def begun(self, *arguments, **options):
        begin(self, *arguments, **options)
        shows.append(not self.disable)

    monkeypatch.setattr(utils.tqdm, "__init__", begun)
    noise = np.random.default_rng(0).integers(0, 256, (4000, 28, 28), dtype=np.uint8)
    dsetpack.Pack.from_arrays(noise, np.arange(4000) % 10).save("large.dpk")
    with shown(Recorder()):
        hub.push("large.dpk", "me/demo")
        hub.pull("me/demo", "again.dpk")
        seen = {work.title: work for work in display().seen}
    assert "upload large.dpk, 4 MB" in seen
    assert seen["download large.dpk"].far == "4/4 MB"
    assert shows
    assert not any(shows)
    assert not utils.are_progress_bars_disabled()


def test_pull_pins(server, pushed, place):
    dsetpack.open("demo.dpk").replace_card(title="Changed").save("demo.dpk", encoding="int8")
    second = hub.push("demo.dpk", "me/demo")
    assert hub.pull("me/demo", "new.dpk").digest == second.digest
    pinned = hub.pull("me/demo", "old.dpk", revision=pushed.revision, digest=pushed.digest)
    assert (pinned.revision, pinned.digest, pinned.size) == (pushed.revision, pushed.digest, KFS.stat().st_size)
    assert (place / "old.dpk").read_bytes() == KFS.read_bytes()


def test_a_pinned_file_in_the_cache_needs_no_server(server, pushed, place):
    hub.pull("me/demo", "x.dpk", file="demo.dpk", revision=pushed.revision)
    server.requests.clear()
    hub.pull("me/demo", "y.dpk", file="demo.dpk", revision=pushed.revision, digest=pushed.digest)
    assert not server.requests
    assert (place / "y.dpk").read_bytes() == KFS.read_bytes()


def test_wrong_digest_writes_nothing(server, pushed, place):
    shutil.copy(SAMPLE, place / "x.dpk")
    with pytest.raises(IntegrityError, match=f"digest {pushed.digest} found, {WRONG} expected: another pack"):
        hub.pull("me/demo", "x.dpk", digest=WRONG)
    assert (place / "x.dpk").read_bytes() == SAMPLE.read_bytes()
    assert names(place) == ["demo.dpk", "x.dpk"]
    server.requests.clear()
    with pytest.raises(FormatError, match="digest 'c549': 'sha256:' and 64 hexadecimal digits"):
        hub.pull("me/demo", "x.dpk", digest="c549")
    assert not server.requests


def test_a_connection_that_drops_is_resumed(server, pushed, place, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # a break loses up to a chunk; the default is 10 MB
    server.cuts = 3
    server.requests.clear()
    hub.pull("me/demo", "x.dpk", digest=pushed.digest)
    assert (place / "x.dpk").read_bytes() == KFS.read_bytes()
    had = KFS.stat().st_size // 2 // 1024 * 1024
    ranges = [row[2] for row in server.asked("GET", "/resolve/")]
    assert ranges[:2] == ["", f"bytes={had}-"]
    assert len(ranges) == 4


def test_a_connection_that_stays_broken_leaves_nothing(server, pushed, place, tmp_path):
    server.cuts, server.silent = 1000, True
    failed = run("pull", "me/demo", "-o", "x.dpk")
    assert failed.exit_code == 1
    assert "the connection failed, and nothing was written: run it again" in failed.output
    assert names(place) == ["demo.dpk"]
    assert not [path for path in (tmp_path / "hf").rglob("*") if path.name.endswith((".incomplete", ".dpk"))]
    server.cuts = 0
    assert run("pull", "me/demo", "-o", "x.dpk").exit_code == 0
    assert names(place) == ["demo.dpk", "x.dpk"]


def test_no_server_at_all(server, place, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for arguments in (("pull", "me/demo"), ("push", "demo.dpk", "me/demo")):
        failed = run(*arguments)
        assert failed.exit_code == 1
        assert "the connection failed, and nothing was written" in failed.output
    assert names(place) == ["demo.dpk"]


def test_damage_on_the_way_is_fetched_again(server, pushed, place):
    server.damage = 1
    hub.pull("me/demo", "x.dpk")
    assert (place / "x.dpk").read_bytes() == KFS.read_bytes()
    server.damage = 2
    (place / "x.dpk").unlink()
    shutil.rmtree(os.environ["HF_HOME"])
    with pytest.raises(IntegrityError, match=r"me/demo@[0-9a-f]{40}/demo\.dpk: "):
        hub.pull("me/demo", "x.dpk")
    assert names(place) == ["demo.dpk"]


def test_missing_things_are_named(server, pushed, place):
    server.repositories["me/demo"].commit("main", {"other.dpk": KFS.read_bytes(), "text.txt": b"x"}, "more")
    for arguments, said in (
        (("me/none",), "me/none: no such data set repository, or a private one: check the name"),
        (("me/demo@v9",), "me/demo@v9: no such revision"),
        (("me/demo", "x.dpk"), "no file 'x.dpk'; its .dpk files: demo.dpk, other.dpk"),
        (("me/demo",), "2 .dpk files, one expected: say which FILE; there are: demo.dpk, other.dpk"),
        ((f"me/demo@{pushed.revision}", "x.dpk"), f"me/demo@{pushed.revision}/x.dpk: no such file"),
        ((f"me/demo@{'0' * 40}", "demo.dpk"), "no such revision"),
        (("me/demo", "text.txt"), "text.txt: not a .dpk"),
        (("me//demo",), "OWNER/NAME expected"),
    ):
        failed = run("pull", *arguments, "-o", "out.dpk")
        assert failed.exit_code == 1, (arguments, failed.output)
        assert said in failed.output
    assert names(place) == ["demo.dpk"]


def test_without_permission(server, pushed, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_somebody_else")
    failed = run("push", "demo.dpk", "me/demo")
    assert failed.exit_code == 1
    assert "not allowed (HTTP status 401): log in with 'hf auth login', or set HF_TOKEN" in failed.output
    assert TOKEN not in failed.output
    assert len(server.repositories["me/demo"].commits) == 2


def test_a_commit_that_fails_changes_nothing(server, pushed):
    server.refuse_commits = True
    dsetpack.open("demo.dpk").replace_card(title="Changed").save("demo.dpk")
    with pytest.raises(DsetpackError, match="me/demo: push: the Hub answers with HTTP status 500"):
        hub.push("demo.dpk", "me/demo")
    assert files(server)["demo.dpk"] == KFS.read_bytes()


def test_what_is_not_sound_is_not_pushed(server, place):
    damaged = bytearray(KFS.read_bytes())
    damaged[-1] ^= 1
    (place / "bad.dpk").write_bytes(damaged)
    shutil.copy("demo.dpk", "demo.bin")
    for file, said in (("bad.dpk", "bad.dpk: "), ("none.dpk", "none.dpk: "), ("demo.bin", "ends in .dpk expected")):
        failed = run("push", file, "me/demo")
        assert failed.exit_code == 1
        assert said in failed.output
    assert not server.requests


def test_output_that_cannot_be_written_is_refused_before_the_download(server, pushed, place):
    server.requests.clear()
    failed = run("pull", "me/demo", "-o", "no/x.dpk")
    assert failed.exit_code == 1
    assert "its folder does not exist" in failed.output
    assert not server.asked("GET", "/resolve/")


def test_a_name_in_the_repository_cannot_leave_the_folder(server, pushed, place):
    server.repositories["me/demo"].commits[pushed.revision] = {"deep/er/y.dpk": KFS.read_bytes()}
    assert run("pull", "me/demo").exit_code == 0
    assert names(place) == ["demo.dpk", "y.dpk"]


def test_the_missing_package_is_named(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for arguments in (("pull", "me/demo"), ("push", "demo.dpk", "me/demo")):
        failed = run(*arguments)
        assert failed.exit_code == 1
        assert "install 'dsetpack[hub]'" in failed.output


@pytest.mark.slow
def test_a_whole_process_with_nothing_but_the_environment(server, place):
    """Run as a user runs it: only ``HF_ENDPOINT`` and ``HF_TOKEN`` configure it, and a pull does not import torch."""
    code = (
        "import sys; sys.argv[0] = 'dsetpack'\nfrom dsetpack.cli import main\n"
        "try:\n    main()\nfinally:\n    assert sys.argv[1] == 'push' or 'torch' not in sys.modules"
    )
    for arguments in (("push", "demo.dpk", "me/demo"), ("pull", "me/demo", "-o", "x.dpk")):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (place / "x.dpk").read_bytes() == KFS.read_bytes()


# hf://


@pytest.fixture
def fresh_filesystem():
    """fsspec caches file systems, and they cache listings."""
    from huggingface_hub import HfFileSystem

    HfFileSystem.clear_instance_cache()
    yield
    HfFileSystem.clear_instance_cache()


def test_open_by_url(server, pushed, fresh_filesystem):
    here = dsetpack.open("demo.dpk")
    for url in ("hf://datasets/me/demo/demo.dpk", f"hf://datasets/me/demo@{pushed.revision}/demo.dpk"):
        pack = dsetpack.open(url, digest=pushed.digest)
        (x, y), (x_here, y_here) = pack.decode(range(280)), here.decode(range(280))
        assert x.equal(x_here)
        assert y.equal(y_here)
    with pytest.raises(IntegrityError, match="expected"):
        dsetpack.open("hf://datasets/me/demo/demo.dpk", digest=WRONG)


def test_open_reads_ranges(server, fresh_filesystem):
    images = np.random.default_rng(0).random((300, 1, 28, 28), dtype=np.float32)
    size = dsetpack.Pack.from_arrays(images, np.arange(300) % 10, title="large").save("large.dpk")
    hub.push("large.dpk", "me/large")
    server.requests.clear()
    pack = dsetpack.open("hf://datasets/me/large/large.dpk")
    assert len(pack) == 300
    assert fetched(server) < 10_000  # header and manifest
    assert pack.decode([7])[0].numpy().tobytes() == images[7].tobytes()
    assert size * 0.9 < fetched(server) < size * 1.01


def fetched(server: Hub) -> int:
    """The number of bytes that range requests asked for."""
    rows = [row[2].removeprefix("bytes=").split("-") for row in server.asked("GET", "/resolve/")]
    return sum(int(last) - int(first) + 1 for first, last in rows)


def test_open_by_url_names_what_is_missing(server, pushed, fresh_filesystem):
    for url in ("hf://datasets/me/demo/none.dpk", "hf://datasets/me/none/x.dpk", "hf://datasets/me/demo@v9/demo.dpk"):
        with pytest.raises((DsetpackError, FileNotFoundError), match=url):
            dsetpack.open(url)


def test_open_by_url_when_the_connection_drops(server, pushed, fresh_filesystem):
    server.cuts = 1
    assert len(dsetpack.open("hf://datasets/me/demo/demo.dpk")) == 280  # tried again
    server.cuts, server.silent = 1000, True
    with pytest.raises(DsetpackError, match="hf://datasets/me/demo/demo.dpk: cannot be read"):
        dsetpack.open("hf://datasets/me/demo/demo.dpk")


@pytest.mark.parametrize(
    "name",
    ["demo", "a/b/c", "https://huggingface.co/datasets/me/demo", "a--b/c", "a/.b", "me/de mo", "", "/", "me/demo/"],
)
def test_the_form_of_a_name_is_checked_before_anything_is_asked(server, name):
    for failed in (run("pull", name), run("push", "demo.dpk", name)):
        assert failed.exit_code == 1
        assert "OWNER/NAME expected, such as you/demo" in failed.output
        assert failed.output.count("\n") == 1
    assert not server.requests


def test_a_name_with_a_revision_is_one(server, pushed):
    assert run("pull", f"me/demo@{pushed.revision}", "-o", "x.dpk").exit_code == 0


def test_another_file_is_not_replaced(server, pushed, place):
    (place / "x.dpk").write_bytes(b"old")
    server.requests.clear()
    refused = run("pull", "me/demo", "-o", "x.dpk")
    assert refused.exit_code == 1
    assert "x.dpk: there already, and not a pack: name another file, or pass --force" in refused.output
    assert not server.requests
    assert (place / "x.dpk").read_bytes() == b"old"
    (place / "demo.dpk").write_bytes(b"old")  # by its own name, which only the Hub knows
    assert "demo.dpk: there already, and not a pack" in run("pull", "me/demo").output
    assert run("pull", "me/demo", "--force").exit_code == 0
    assert (place / "demo.dpk").read_bytes() == KFS.read_bytes()


def test_no_network_is_one_line(place, monkeypatch, tmp_path):
    """The host is looked up in a process of its own: huggingface_hub reads its environment once."""
    environment = {**os.environ, "HF_ENDPOINT": "http://nowhere.invalid", "HF_HOME": str(tmp_path / "hf")}
    for command in (["pull", "me/demo"], ["info", "hf://datasets/me/demo/demo.dpk"]):
        line = [sys.executable, "-m", "dsetpack", *command]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert "the server cannot be reached (" in done.stderr
