"""Files that are not whole, or not of this layout."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from dsetpack import FormatError, LimitError, VersionError
from dsetpack.formats.errors import IntegrityError
from dsetpack.onnx import OnnxPack, envelope, export
from dsetpack.onnx.exporter import model
from tests.support.onnx_models import both, rewritten
from tests.support.onnx_packs import KFS, pack_of


def test_files_cut_short_anywhere_are_refused(tmp_path):
    data = model(pack_of("images", {}, (1, 2, 2), sources=3))
    for length in range(len(data)):
        with pytest.raises(IntegrityError, match="cut short|damaged"):
            OnnxPack(data[:length])
    (tmp_path / "x.onnx").write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"x\.onnx"):
        OnnxPack(tmp_path / "x.onnx")
    with pytest.raises(IntegrityError):
        OnnxPack(data + b"\0")


def test_files_with_a_changed_byte_are_refused():
    data = model(pack_of("images", {}, (1, 2, 2), sources=3))
    for at in range(len(data)):
        with pytest.raises(IntegrityError):
            OnnxPack(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])


def test_other_tools_read_the_file_and_verify_false_reads_theirs():
    ours, pack = both(pack_of(*KFS))
    proto = onnx.load_from_string(model(pack_of(*KFS)))
    onnx.checker.check_model(proto, full_check=True)
    proto.doc_string = "rewritten"
    written = proto.SerializeToString()
    with pytest.raises(IntegrityError, match="verify=False"):
        OnnxPack(written)
    again = OnnxPack(written, threads=1, verify=False)
    assert np.array_equal(again.decode([1, 5])[0], ours.decode([1, 5])[0])
    assert len(again) == len(pack)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"card": None}, FormatError, "not exported by dsetpack"),
        ({"dsetpack": None}, FormatError, "not exported by dsetpack"),
        ({"card": "{"}, FormatError, "metadata"),
        ({"dsetpack": "[]"}, FormatError, "metadata"),
        ({"layout": 2, "new": 1}, VersionError, "layout 2.*update"),
        ({"new": 1}, FormatError, "new"),
        ({"digest": "x"}, FormatError, "digest"),
        ({"parts": []}, FormatError, "inputs"),
        ({"parts": [{"sources": 3, "slots": 0}]}, FormatError, "slots"),
        ({"parts": [{"sources": 2**62, "slots": 2**62}]}, FormatError, "pairs"),
        ({"parts": [{"sources": 2**40, "slots": 1}]}, LimitError, "1099511627776 pairs"),
        ({"noise": 4}, FormatError, "generators"),
        ({"parts": [{"sources": 3, "slots": 1, "drawn": True}]}, FormatError, "generators"),
        ({"card": '{"title":"x","classes":["a"],"shape":[2,2,2]}'}, FormatError, r"\[2, 2, 2\]"),
        ({"space": "grey"}, FormatError, "space"),
        ({"decoder_only": True}, FormatError, "decoder alone"),
    ],
)  # fmt: skip
def test_metadata_that_do_not_fit(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        OnnxPack(rewritten(**changes))
    assert re.match("<bytes>|more than", str(caught.value))


def test_models_that_are_no_packs(tmp_path):
    export(pack_of(*KFS), tmp_path / "x.onnx", decoder_only=True)
    with pytest.raises(FormatError, match=r"x\.onnx: a decoder alone"):
        OnnxPack(tmp_path / "x.onnx")
    with pytest.raises(FormatError, match=r"<bytes>: onnxruntime cannot load it"):
        OnnxPack(onnx.ModelProto(ir_version=8).SerializeToString(), verify=False)
    for data in (b"not a model", b"\xff" * 100, b"\x3a\x7f", b"\x39\0", b"\xf2\x80\x80\x80\x10\0", b"\x3a"):
        with pytest.raises(FormatError, match=r"<bytes>: not an ONNX model"):
            OnnxPack(envelope.seal(data), verify=False)
    with pytest.raises(FileNotFoundError):
        OnnxPack(tmp_path / "none.onnx")
    with pytest.raises(IntegrityError, match="no dsetpack checksum"):
        OnnxPack(pack_of(*KFS))
