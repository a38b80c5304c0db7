"""No file that a model names is opened."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from dsetpack import FormatError
from dsetpack.onnx import OnnxPack, external
from dsetpack.onnx.exporter import model
from tests.support.onnx_packs import pack_of


def test_every_way_to_a_tensor_is_known():
    """Compared with the messages of the package ``onnx``."""
    messages = onnx.ModelProto.DESCRIPTOR.file.message_types_by_name
    lead, before = {"TensorProto": {}}, None
    while lead != before:
        before = lead
        lead = {"TensorProto": {}} | {
            name: {
                f.number: f.message_type.name
                for f in message.fields
                if f.message_type and f.message_type.name in before
            }
            for name, message in messages.items()
            if name != "TensorProto" and any(f.message_type and f.message_type.name in before for f in message.fields)
        }
    del lead["TensorProto"]
    assert lead == external.INSIDE
    fields = onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert fields["external_data"].number == external.EXTERNAL_DATA
    assert fields["data_location"].number == external.DATA_LOCATION


@pytest.mark.parametrize("nested", [False, True])
def test_no_other_file_is_opened(nested, tmp_path, monkeypatch):
    """A model that names a file of this machine would show it as images."""
    monkeypatch.chdir(tmp_path)
    proto = onnx.load_from_string(model(pack_of("images", {}, (1, 2, 2), sources=3)))
    tensor = next(t for t in proto.graph.initializer if t.name == "/sources")
    Path("secret").write_bytes(tensor.raw_data)
    del proto.metadata_props[:]
    onnx.external_data_helper.set_external_data(tensor, "secret")
    tensor.ClearField("raw_data")
    if nested:
        inner = onnx.GraphProto(initializer=[tensor])
        branch = onnx.helper.make_attribute("then_branch", inner)
        proto.functions.append(onnx.FunctionProto(name="f", node=[onnx.NodeProto(op_type="If", attribute=[branch])]))
        proto.graph.initializer.remove(tensor)
    with pytest.raises(FormatError, match="<bytes>: a tensor in another file"):
        OnnxPack(proto.SerializeToString(), verify=False)
