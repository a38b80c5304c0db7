"""``OnnxPack``: an exported pack, decoded by onnxruntime into numpy arrays. It imports neither torch nor onnx."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsetpack.formats.card import RawSpace, SpaceModel
from dsetpack.formats.errors import DsetpackError, FormatError, LimitError, at
from dsetpack.formats.extras import need
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable
from dsetpack.formats.words import plural
from dsetpack.onnx import envelope, external
from dsetpack.order import philox
from dsetpack.order.pairs import PairTable
from dsetpack.order.sampler import PairSampler

Floats = NDArray[np.float32]
Labels = NDArray[Any]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
LABELS_BATCH = 256


class OnnxPack:
    """An exported pack: the same pairs, order, epochs, noise and labels as the ``Pack`` it was exported from.

    Several threads may decode at once. The object cannot be passed to other processes: open the file in each.

    Attributes:
        card: the pack's card.
        table: the (part, source, slot) of each pair.
        digest, content_digest: those of the pack file that was exported.
        providers: onnxruntime's execution providers in use, in the order of preference.
        device: ``cpu`` or ``cuda``, where images are made.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | bytes,
        providers: Sequence[Any] | None = None,
        *,
        threads: int | None = None,
        verify: bool = True,
    ) -> None:
        """Open a model.

        Args:
            where: an ``.onnx`` file that ``dsetpack.onnx.export`` wrote, or its bytes.
            providers: onnxruntime's execution providers, in its own form; by default CUDA (in full float32) if
                onnxruntime-gpu is installed and works, otherwise the CPU.
            threads: CPU threads of one call; by default onnxruntime's own choice.
            verify: compare the file with its checksum. False opens a model that another tool has rewritten.

        Raises:
            IntegrityError: if the file is cut short or damaged.
            FormatError: if it is not the model of a pack, or has tensors in other files.
            VersionError: if it was written by a later version.
            LimitError: if there are so many pairs that their order, 8 bytes each, takes more than ``Limits().total``.
            DsetpackError: if onnxruntime is missing, or cannot use the providers asked for.
            OSError: if the file cannot be read.
        """
        self._runtime = need("onnxruntime", "onnx")
        name, data = ("<bytes>", where) if isinstance(where, bytes) else (os.fspath(where), Path(where).read_bytes())
        chosen = _providers(self._runtime, providers)
        with at(name):
            if verify:
                envelope.check(data)
            external.refuse(data)
            self._session = _session(self._runtime, data, chosen, threads)
            self._info, self.card = envelope.read_metadata(self._session.get_modelmeta().custom_metadata_map)
            if self._info.decoder_only:
                raise FormatError("a decoder alone, without sources; export the pack without decoder_only")
        self.providers: list[str] = self._session.get_providers()
        if providers is not None and self.providers[0] != _name(chosen[0]):
            raise DsetpackError(f"onnxruntime cannot use {_name(chosen[0])} here; it falls back to {self.providers[0]}")
        self.digest, self.content_digest = self._info.digest, self._info.content_digest
        self.table = PairTable([(part.sources, part.slots) for part in self._info.parts])
        self.device = "cuda" if self.providers[0] == CUDA else "cpu"
        provider = self._session.get_provider_options().get(CUDA, {})
        self._device_id = int(provider.get("device_id", 0)) if self.device == "cuda" else 0
        self._labels: Labels | None = None
        with at(name):
            self._check_interface()

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        parts = " + ".join(f"{sources} × {slots}" for sources, slots in self.table.parts)
        return f"OnnxPack({self.card.title!r}, {parts} = {plural(len(self), 'image')} {list(self.card.shape)})"

    @property
    def space(self) -> SpaceModel:
        """The pixel space of the images: the card's, or raw if the model was exported with ``space="raw"``."""
        return RawSpace() if self._info.space == "raw" else self.card.space

    @property
    def labels(self) -> Labels:
        """The label of every pair: int64 [len], or float32 [len, classes].

        The first call decodes one image per source, because labels are only in the graph.
        """
        if self._labels is None:
            self._labels = np.concatenate([self._labels_of(number) for number in range(len(self.table.parts))])
        return self._labels.copy()

    def decode(self, pair_ids: ArrayLike, *, seed: int = 0, epoch: int = 0) -> tuple[Floats, Labels]:
        """Decode any pairs in one batched call.

        Args:
            pair_ids: B numbers in 0..len-1, in any order, repeats allowed.
            seed, epoch: choose the noise of ``generator`` parts; other kinds ignore them.

        Returns:
            images float32 [B, C, H, W] in ``space``, and labels int64 [B] or float32 [B, classes].

        Raises:
            IndexError: if a pair does not exist, or if ``pair_ids`` is not one-dimensional.
        """
        inputs = self._inputs(pair_ids, seed, epoch)
        if not len(inputs["index"]):
            return self._nothing()
        if self.device == "cpu":
            x, y = self._session.run(["image", "label"], inputs)
        else:
            x, y = (value.numpy() for value in self._bound(inputs))
        return x, y

    def decode_on_device(self, pair_ids: ArrayLike, *, seed: int = 0, epoch: int = 0) -> tuple[Any, Any]:
        """Decode as ``decode`` does, into onnxruntime's ``OrtValue``s that stay on ``device``.

        Frameworks can use them without a copy: ``torch.from_dlpack(value)``.
        """
        return self._bound(self._inputs(pair_ids, seed, epoch))

    def sampler(self, batch_size: int, *, rule: str | None = None, **options: Any) -> PairSampler:
        """Make a sampler of batches of pair_ids by ``rule`` (by default the card's); see ``PairSampler``."""
        return PairSampler(self.table, batch_size, rule=rule or self.card.epoch_rule, **options)

    def stream(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        transform: Callable[[Floats], Any] | None = None,
        rule: str | None = None,
        drop_last: bool = False,
        rank: int | None = None,
        world: int | None = None,
    ) -> OnnxStream:
        """Make a stream of batches, one epoch per iteration, in the order of ``Pack.stream``; see ``OnnxStream``."""
        sampler = self.sampler(batch_size, seed=seed, rule=rule, drop_last=drop_last, rank=rank, world=world)
        return OnnxStream(self, sampler, transform)

    def _inputs(self, pair_ids: ArrayLike, seed: int, epoch: int) -> dict[str, NDArray[Any]]:
        pair_ids = np.asarray(pair_ids)
        if pair_ids.ndim != 1:
            raise IndexError(f"pair numbers must be a list, found shape {list(pair_ids.shape)}")
        part_ids = self.table.locate(pair_ids).part_ids
        pair_ids = pair_ids.astype(np.int64)
        inputs: dict[str, NDArray[Any]] = {"index": pair_ids}
        if (size := self._info.noise) is not None:
            drawn = np.array([part.drawn for part in self._info.parts])[part_ids]
            inputs["noise"] = np.zeros((len(pair_ids), size), np.float32)
            inputs["noise"][drawn] = philox.noise(seed, epoch, pair_ids[drawn], size)
        return inputs

    def _bound(self, inputs: dict[str, NDArray[Any]]) -> tuple[Any, Any]:
        binding = self._session.io_binding()
        for name, values in inputs.items():
            binding.bind_cpu_input(name, values)
        for name in ("image", "label"):
            binding.bind_output(name, self.device, self._device_id)
        self._session.run_with_iobinding(binding)
        x, y = binding.get_outputs()
        return x, y

    def _nothing(self) -> tuple[Floats, Labels]:
        """Make an empty batch, which some operators refuse."""
        soft = self.card.labels.kind == "soft"
        y = np.empty((0, len(self.card.classes)), np.float32) if soft else np.empty(0, np.int64)
        return np.empty((0, *self.card.shape), np.float32), y

    def _labels_of(self, number: int) -> Labels:
        """The label of every pair of a part."""
        part, first = self._info.parts[number], sum(n * k for n, k in self.table.parts[:number])
        if part.drawn:
            of_each: Labels = np.arange(part.sources) // (self.card.per_class or 1)
        else:
            pair_ids = first + part.slots * np.arange(part.sources)
            batches = np.array_split(pair_ids, -(-len(pair_ids) // LABELS_BATCH))
            of_each = np.concatenate([self.decode(batch)[1] for batch in batches])
        return of_each.repeat(part.slots, axis=0)

    def _check_interface(self) -> None:
        """Check that the graph has the inputs and outputs that its metadata promises, and not too many pairs."""
        if 8 * len(self) > (limit := Limits().total):
            raise LimitError(f"{len(self)} pairs, whose order takes 8 bytes each; the limit is {limit} bytes")
        drawn = [part for part in self._info.parts if part.drawn]
        each = len(self.card.classes) * (self.card.per_class or 0)
        if bool(drawn) != (self._info.noise is not None) or any(part.sources != each for part in drawn):
            raise FormatError("metadata: parts, noise and the card's per_class disagree about generators")
        expected = {"index"} | ({"noise"} if drawn else set())
        inputs = {value.name for value in self._session.get_inputs()}
        outputs = {value.name: value.shape for value in self._session.get_outputs()}
        if inputs != expected or set(outputs) != {"image", "label"} or not self._info.parts:
            raise FormatError(f"inputs {sorted(inputs)} and outputs {sorted(outputs)} are not a pack's")
        if tuple(outputs["image"][1:]) != self.card.shape:
            raise FormatError(f"images of shape {outputs['image'][1:]}; the card says {list(self.card.shape)}")


class OnnxStream:
    """Decoded batches, one epoch per iteration, the same as those of ``Pack.stream``.

    Epochs, ranks and resume are those of ``PairSampler``. An ``OnnxStream`` can load the state of a ``PackStream``, and
    the other way round.

    Yields:
        (x, y): x float32 [B, C, H, W] in ``pack.space``, after ``transform``; y int64 [B], or float32 [B, classes].
    """

    def __init__(self, pack: OnnxPack, sampler: PairSampler, transform: Callable[[Floats], Any] | None = None) -> None:
        self.pack, self.sampler, self.transform = pack, sampler, transform

    def __len__(self) -> int:
        """The number of batches in a whole epoch on this rank."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Any, Labels]]:
        batches, seed = iter(self.sampler), self.sampler.schedule.sampling.seed
        for pair_ids in batches:
            x, y = self.pack.decode(pair_ids, seed=seed, epoch=batches.epoch)
            yield (x if self.transform is None else self.transform(x)), y

    @property
    def epoch(self) -> int:
        """The running epoch, or the next one if none has begun or the last one has ended."""
        return self.sampler.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; see ``PairSampler``."""
        self.sampler.set_epoch(epoch)

    def state_dict(self, consumed: int | None = None) -> dict[str, int | str]:
        """The position of all ranks; see ``PairSampler``."""
        return self.sampler.state_dict(consumed)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration give the rest of the epoch, from where the state was taken."""
        self.sampler.load_state_dict(state)


def _providers(runtime: Any, asked: Sequence[Any] | None) -> list[Any]:
    """The execution providers to use: those asked for, or CUDA in full float32 if it is there, then the CPU.

    Raises:
        DsetpackError: if this onnxruntime does not have one that is asked for.
    """
    available = runtime.get_available_providers()
    if asked is None:
        return [p for p in ((CUDA, {"use_tf32": "0"}), (CPU, {})) if p[0] in available]
    if missing := [_name(p) for p in asked if _name(p) not in available]:
        raise DsetpackError(
            f"no {missing[0]} in this onnxruntime, which has {', '.join(available)}; CUDA comes with the extra "
            "'dsetpack[onnx-gpu]' instead of 'dsetpack[onnx]'"
        )
    return list(asked)


def _name(provider: Any) -> str:
    """The name of an execution provider, which may come with options."""
    return provider if isinstance(provider, str) else str(provider[0])


def _session(runtime: Any, data: bytes, providers: list[Any], threads: int | None) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the format that external.refuse checked
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # otherwise weights are widened at every call
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return runtime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime has an error class for each status
        first = printable("".join(str(error).splitlines()[:1]))
        raise FormatError(f"onnxruntime cannot load it: {first}") from error
