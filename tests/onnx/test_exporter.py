"""Exported models: the pixels and labels of torch, for every kind, option, encoding and space."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dsetpack
from dsetpack import FormatError, Zca, formats
from dsetpack.formats.card import Card
from dsetpack.formats.encodings.cast import Cast
from dsetpack.formats.encodings.quantize import Quantize
from dsetpack.formats.kinds import kind_config, kind_names
from dsetpack.onnx import OnnxPack
from dsetpack.onnx.exporter import model
from dsetpack.onnx.kinds.upsample import bilinear
from dsetpack.order import philox
from tests.support.onnx_packs import (
    BATCHES,
    CASES,
    HABA,
    KFS,
    LISTS,
    NORMALIZED,
    assert_as_exact,
    assert_close,
    assert_like_torch,
    exported,
    mixed,
    pack_of,
    session,
    tensors_of,
)


def test_there_is_a_case_of_every_kind():
    assert {kind for kind, _, _ in CASES.values()} == set(kind_names())


@pytest.mark.parametrize("encoding", ["exact", "f16", "int8", "int4"])
@pytest.mark.parametrize("case", CASES)
def test_every_kind_and_option_like_torch(case, encoding):
    proto = assert_like_torch(pack_of(*CASES[case], encoding=encoding), batches=BATCHES if encoding == "int8" else (7,))
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 17)]
    assert all(
        value.type.tensor_type.shape.dim[0].dim_param == "N" for value in (*proto.graph.input, *proto.graph.output)
    )
    assert not proto.functions
    assert not {"DequantizeLinear", "Tanh"} & {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize("encoding", ["exact", "int8"])
@pytest.mark.parametrize("case", CASES)
def test_the_portable_form_like_torch(case, encoding):
    batches = BATCHES if encoding == "int8" else (7,)
    proto = assert_like_torch(pack_of(*CASES[case], encoding=encoding), batches=batches, portable=True)
    assert_shapes_follow_from_the_input(proto)


def assert_shapes_follow_from_the_input(proto):
    """No operator has a shape that depends on values: none of these, and shapes given to others are constants."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        assert node.op_type not in ("NonZero", "Range", "Split", "ScatterElements", "Shape")
        if node.op_type in ("Reshape", "Slice", "Pad", "Expand"):
            assert set(node.input[1:]) <= constants


@pytest.mark.parametrize("space", ["pack", "raw"])
def test_the_portable_form_of_many_parts_like_torch(space):
    proto = assert_like_torch(mixed("int8", space=NORMALIZED), space, portable=True)
    assert_shapes_follow_from_the_input(proto)
    assert_like_torch(pack_of(*KFS, class_decoders=LISTS), portable=True)


def test_the_portable_form_gives_some_image_for_a_number_that_is_no_pair():
    data = pack_of(*KFS)
    _, run = exported(data, portable=True)
    count = len(dsetpack.open(data))
    found, expected = (
        run.run(None, {"index": np.array(index)})
        for index in ([count, -1, -(2**63), 2**63 - 1], [count - 1, 0, 0, count - 1])
    )
    assert all(map(np.array_equal, found, expected))


def test_labels_of_32_bits():
    for portable in (False, True):
        run = session(model(mixed(), portable=portable, label_type="int32"))
        feed = {"index": np.arange(9), "noise": np.zeros((9, 11), np.float32)}
        label = run.run(["label"], feed)[0]
        assert label.dtype == np.int32
        assert label.tolist() == dsetpack.open(mixed()).labels[:9].tolist()
    with pytest.raises(FormatError, match="'int64' or 'int32' expected"):
        model(mixed(), label_type="int8")


def zca(image, standardised, storage="embed"):
    x = torch.rand(60, *image, generator=torch.Generator().manual_seed(0))
    statistics = {"channel_mean": (0.5,) * image[0], "channel_std": (0.3,) * image[0]} if standardised else {}
    return x, Zca.fit(x, "frepo" if standardised else "kornia", storage=storage, **statistics)


@pytest.mark.parametrize("space", ["pack", "raw"])
@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("kind", [KFS, HABA], ids=["kfs", "haba"])
def test_whitened_spaces_like_torch(kind, standardised, space):
    _, fitted = zca((3, 8, 8), standardised)
    tensors = {name: tensor.numpy() for name, tensor in fitted.tensors().items()}
    data = pack_of(*kind, space=fitted.model.model_dump(), space_tensors=tensors)
    proto = assert_like_torch(data, space)
    assert sum(t.dims == [192, 192] for t in proto.graph.initializer) == ((kind is KFS) == (space == "pack"))


@pytest.mark.parametrize("space", ["pack", "raw"])
@pytest.mark.parametrize("case", ["images", "haba depth 1", "kfs Low-R", "generator 32"])
def test_normalized_spaces_like_torch(case, space):
    assert_like_torch(pack_of(*CASES[case], space=NORMALIZED), space)


def test_a_matrix_in_few_bits_like_torch():
    _, fitted = zca((3, 8, 8), False)
    tensors = {name: tensor.numpy() for name, tensor in fitted.tensors().items()}
    encoding = {"space.matrix": Quantize(bits=8, block=(1, 192)), "default": "exact"}
    assert_like_torch(pack_of(*KFS, encoding=encoding, space=fitted.model.model_dump(), space_tensors=tensors))


def test_a_refitted_space():
    x, fitted = zca((3, 8, 8), False, storage="refit")
    data = pack_of(*KFS, space=fitted.model.model_dump())
    with pytest.raises(FormatError, match=r"with_space"):
        model(data)
    model(data, "raw")  # raw output needs no matrix
    pack = dsetpack.open(data).with_space(Zca.refit(fitted.model, x))
    found = OnnxPack(model(pack), threads=1)
    assert_close(found.decode(range(len(pack)))[0], pack.decode(range(len(pack)))[0].numpy())
    assert found.card == pack.card


BLOCKS = {
    "bfloat16": Cast(dtype="bfloat16"),
    "tensor": Quantize(bits=6),
    "scale without offset": Quantize(bits=8, scale=0.25, offset=0.0),
    "sources' own": Quantize(bits=8, block=(1, 3, 6, 5)),
    "pairs of sources": Quantize(bits=8, block=(2, 3, 6, 5)),
    "channels": Quantize(bits=8, block=(11, 1, 6, 5)),
    "rows": Quantize(bits=8, block=(11, 3, 4, 5)),
    "patches": Quantize(bits=3, block=(3, 2, 4, 3)),
}


@pytest.mark.parametrize("encoding", BLOCKS)
def test_every_encoding_to_the_bit(encoding):
    data = pack_of("images", {}, (3, 6, 5), encoding={"sources": BLOCKS[encoding]})
    _, run = exported(data)
    index = np.array([3, 0, 10, 3])
    expected = formats.Reader(data).tensor("sources")[index]
    assert np.array_equal(run.run(["image"], {"index": index})[0], expected)
    types = {t.data_type for t in exported(data)[0].graph.initializer if t.name == "/sources"}
    assert types == {onnx.TensorProto.BFLOAT16 if encoding == "bfloat16" else onnx.TensorProto.UINT8}


@pytest.mark.parametrize(
    "encoding",
    [Quantize(bits=8, block=(1, 1, 1, 3, 3)), Quantize(bits=4, block=(2, 1, 2, 3, 3)), Cast(dtype="bfloat16")],
)
def test_banks_in_blocks_like_torch(encoding):
    assert_like_torch(pack_of(*HABA, encoding={"encoder.0.weight": encoding, "default": "f16"}))


@pytest.mark.parametrize("preset", ["exact", "f16", "int8"])
def test_soft_labels_like_torch(preset):
    assert_like_torch(pack_of(*HABA, encoding=preset, soft=True))
    assert_like_torch(pack_of(*HABA, encoding={"labels": Quantize(bits=8, block=(1, 3))}, soft=True))


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_floats_like_torch(dtype):
    kind, config, image = HABA
    tensors = {role: v if role == "labels" else v.astype(dtype) for role, v in tensors_of(*HABA, 5).items()}
    part = formats.PartEntry(kind=kind, config=config, sources=5, tensors={role: role for role in tensors})
    assert_like_torch(formats.encode(Card(title="x", classes=("a", "b", "c"), shape=image), [part], tensors))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "uint32", "int64"])
def test_labels_of_any_integers(dtype):
    tensors = tensors_of("images", {}, (1, 2, 2), 5)
    tensors["labels"] = tensors["labels"].astype(dtype)
    part = formats.PartEntry(kind="images", sources=5, tensors={role: role for role in tensors})
    assert_like_torch(formats.encode(Card(title="x", classes=("a", "b", "c"), shape=(1, 2, 2)), [part], tensors))


@pytest.mark.parametrize("lists", [LISTS, ((1,), (0,), (2,)), ((2, 1, 0), (0, 1, 2), (1, 0, 2))])
@pytest.mark.parametrize("kind", [KFS, HABA, ("haba", {"decoders": 3, "shared": True}, (3, 8, 8))])
def test_decoders_of_each_class_like_torch(kind, lists):
    assert_like_torch(pack_of(*kind, class_decoders=lists))


@pytest.mark.parametrize("space", ["pack", "raw"])
@pytest.mark.parametrize("encoding", ["exact", "int8"])
def test_parts_of_every_kind_like_torch(encoding, space):
    proto = assert_like_torch(mixed(encoding, space=NORMALIZED), space)
    assert [value.name for value in proto.graph.input] == ["index", "noise"]
    assert proto.graph.input[1].type.tensor_type.shape.dim[1].dim_value == 11
    assert len([t for t in proto.graph.initializer if t.name.endswith("layers.0.weight")]) == 1  # one bank, not two


def test_whitened_parts_of_every_kind_like_torch():
    _, fitted = zca((3, 8, 8), False)
    image = (3, 8, 8)
    tensors = {name: tensor.numpy() for name, tensor in fitted.tensors().items()}
    parts = []
    for number, (kind, config, _) in enumerate([KFS, HABA, ("generator", {"width": 4, "noise": 6}, image), KFS]):
        own = tensors_of(kind, config, image, 3, seed=number)
        names = {role: f"{number}.{role}" for role in own}
        tensors |= {names[role]: values for role, values in own.items()}
        parts.append(formats.PartEntry(kind=kind, config=config, sources=3 * ("sources" in own), tensors=names))
    card = Card(title="x", classes=("a", "b", "c"), shape=image, per_class=1, space=fitted.model)
    data = formats.encode(card, parts, tensors)
    for space in ("pack", "raw"):
        assert_like_torch(data, space)


def test_empty_batches_and_numbers_that_are_no_pair():
    _, run = exported(mixed())
    image, label = run.run(None, {"index": np.empty(0, np.int64), "noise": np.empty((0, 11), np.float32)})
    assert image.shape == (0, 3, 8, 8)
    assert label.shape == (0,)
    for data in (mixed(), pack_of(*KFS), pack_of("images", {}, (1, 2, 2)), pack_of(*CASES["generator 8"])):
        _, run = exported(data)
        noise = {v.name: np.zeros((1, v.shape[1]), np.float32) for v in run.get_inputs() if v.name == "noise"}
        for number in (len(dsetpack.open(data)), -1, 2**40, -(2**40)):
            with pytest.raises(Exception, match="out of range"):
                run.run(None, {"index": np.array([number]), **noise})
        with pytest.raises(Exception, match="Unexpected input data type"):
            run.run(None, {"index": np.array([0], np.int32), **noise})


@pytest.mark.parametrize("space", ["pack", "raw"])
@pytest.mark.parametrize("case", CASES)
def test_decoders_alone_like_torch(case, space):
    image = CASES[case][2]
    numbers = {"mean": (0.5,) * image[0], "std": (0.25,) * image[0]}
    data = pack_of(*CASES[case], encoding="int8", space={"kind": "normalized", **numbers})
    proto, run = exported(data, space, decoder_only=True)
    assert [v.name for v in proto.graph.input] == ["source", "decoder"]
    pack = dsetpack.open(data)
    bank = pack.parts[0].decoder
    exact = copy.deepcopy(bank).double()
    for size in BATCHES:
        rng = np.random.default_rng(size)
        source = rng.standard_normal((size, *bank.source_shape)).astype(np.float32)
        decoder = rng.integers(0, bank.bank_size, size)
        made = [bank(torch.from_numpy(source), torch.from_numpy(decoder))]
        made += [exact(torch.from_numpy(source).double(), torch.from_numpy(decoder))]
        if bank.config.yields != space and (bank.config.yields, space) != ("space", "pack"):
            made = [pack.space.apply(x) if space == "pack" else pack.space.invert(x) for x in made]
        assert made[1].dtype == torch.float64
        found = run.run(["image"], {"source": source, "decoder": decoder})[0]
        assert_as_exact(found, *(x.detach().numpy() for x in made))
        for wrong in (bank.bank_size, -1) if bank.bank_size > 1 else ():
            with pytest.raises(Exception, match="out of range"):
                run.run(["image"], {"source": source, "decoder": np.append(decoder[1:], wrong)})
    assert "/sources" not in {t.name for t in proto.graph.initializer}


def test_a_decoder_alone_needs_one_bank():
    with pytest.raises(FormatError, match=r"7 banks.*select"):
        model(mixed(), decoder_only=True)


@st.composite
def packs(draw):
    """Any kind, options, image shape, encoding, labels and space: arguments of ``pack_of``."""
    channels = draw(st.sampled_from([1, 3]))
    image = (channels, draw(st.integers(5, 12)), draw(st.integers(5, 12)))
    kind = draw(st.sampled_from(["upsample", "haba", "haba", "kfs", "generator"]))
    config = {"factor": draw(st.integers(2, 3))}
    if kind == "upsample":
        config |= {"align_corners": draw(st.booleans())}
    elif kind == "haba":
        released = draw(st.booleans())
        config |= {"form": "released" if released else "paper", "shared": draw(st.booleans())}
        config |= {"decoders": draw(st.integers(1, 4)), "depth": 1 if released else draw(st.integers(0, 3))}
        config["factor"] = draw(st.integers(1, 2))
        if config["depth"]:
            config |= {
                "channels": draw(st.sampled_from([None, 1, 5])),
                "source_channels": draw(st.sampled_from([None, 1])),
            }
    elif kind == "kfs":
        widths = draw(st.lists(st.integers(1, 5), min_size=2, max_size=3))
        config = {"decoders": draw(st.integers(1, 4)), "channels": widths, "kernel": draw(st.sampled_from([2, 4]))}
    else:
        image = (channels, *[draw(st.sampled_from([7, 8, 14, 16, 28]))] * 2)
        config = {"width": draw(st.integers(1, 5)), "noise": draw(st.integers(4, 9))}
    numbers = {"mean": (0.4,) * channels, "std": (0.2,) * channels}
    space = draw(st.sampled_from([{"kind": "raw"}, {"kind": "normalized", **numbers}]))
    soft = kind != "generator" and draw(st.booleans())
    encoding = draw(st.sampled_from(["exact", "f16", "int8", "int4"]))
    bank = kind_config(kind).model_validate(config).bank_size()
    lists = draw(st.permutations(range(bank)))[: draw(st.integers(1, bank))]
    lists = None if soft or bank == 1 or draw(st.booleans()) else (tuple(lists),) * 3
    more = {"encoding": encoding, "soft": soft, "space": space, "class_decoders": lists}
    return {"kind": kind, "config": config, "image": image} | more


@settings(max_examples=40, deadline=None)
@given(packs(), st.sampled_from(["pack", "raw"]), st.integers(1, 40))
def test_any_pack_like_torch(arguments, space, batch):
    assert_like_torch(pack_of(**arguments), space, (batch,))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("patch", "side"), [(1, 1), (1, 5), (2, 7), (4, 8), (11, 32), (16, 32), (75, 224)])
def test_bilinear_matrices_are_torchs(patch, side, corners):
    lines = torch.eye(patch, dtype=torch.float64)[None]
    expected = torch.nn.functional.interpolate(lines, size=side, mode="linear", align_corners=corners)[0].T
    assert np.abs(bilinear(patch, side, corners) - expected.numpy()).max() < 1e-6


def test_noise_of_shorter_generators_is_the_start_of_the_longest():
    assert np.array_equal(philox.noise(1, 2, [5, 9], 11)[:, :6], philox.noise(1, 2, [5, 9], 6))
