"""Parts and card against the tensors that they name."""

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import FormatError, Reader
from dsetpack.formats.card import Labels, ZcaSpace
from tests.support.format_packs import card, part_of, same


def test_parts_share_a_bank_and_allow_decoders_by_class():
    made, part, tensors = part_of("kfs")
    more = {"sources": "more.sources", "labels": "more.labels"}
    second = part.model_copy(
        update={
            "tensors": {**part.tensors, **more},
            "sources": 2,
            "stage": 3,
            "name": "later",
            "class_decoders": ((0, 1), (2, 0), (1, 2)),
        }
    )
    tensors["more.sources"], tensors["more.labels"] = tensors["sources"][:2], np.array([2, 0], np.int16)
    data = formats.encode(made, [part, second], tensors)
    formats.verify(data)
    reader = Reader(data)
    assert reader.manifest.parts == (part, second)
    assert same(reader.part(1)["layers.0.weight"], tensors["layers.0.weight"])
    assert same(reader.part(1)["labels"], tensors["more.labels"])
    assert sum(name == "layers.0.weight" for name in reader.manifest.tensors) == 1


def test_soft_labels_and_an_embedded_space():
    size = 30
    space = ZcaSpace(
        variant="kornia", epsilon=0.1, fitted_on="sha256:" + "0" * 64, storage="embed", mean="zm", matrix="zx"
    )
    made = card(space=space, labels=Labels(kind="soft", centred=True))
    rng = np.random.default_rng(0)
    tensors = {
        "sources": rng.standard_normal((4, 1, 6, 5)).astype(np.float32),
        "labels": rng.standard_normal((4, 3)).astype(np.float32),
        "zm": rng.standard_normal(size).astype(np.float32),
        "zx": rng.standard_normal((size, size)).astype(np.float32),
    }
    part = formats.PartEntry(kind="images", sources=4, tensors={"sources": "sources", "labels": "labels"})
    data = formats.encode(made, [part], tensors, "int8")
    formats.verify(data, hdf5=False)
    reader = Reader(data)
    assert same(reader.tensor("zx"), tensors["zx"])
    assert same(reader.tensor("labels"), tensors["labels"])
    bad = tensors | {"zx": np.full((size, size), np.nan, np.float32)}
    with pytest.raises(FormatError, match="nan at element 0; the card promises finite values"):
        formats.encode(made, [part], bad)
