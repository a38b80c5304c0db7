"""Decoder kinds as ONNX operators, one file per kind, found by the kind's name."""

from __future__ import annotations

from dsetpack.formats.by_name import by_name
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig
from dsetpack.onnx.kinds.base import DecoderGraph


def decoder_graph(
    kind: str, config: KindConfig, image: tuple[int, int, int], classes: int, portable: bool
) -> DecoderGraph:
    """Make the object that adds the decoders of a part to a graph.

    Raises:
        FormatError: if the kind has no ONNX form.
    """
    known = by_name(__name__, "GRAPH")
    if kind not in known:
        raise FormatError(f"kind {kind!r} cannot be exported to ONNX; these can: {', '.join(known)}")
    made: DecoderGraph = known[kind](config, image, classes, portable)
    return made
