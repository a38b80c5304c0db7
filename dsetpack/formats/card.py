"""The card: what a pack is and all that is needed to use it, as typed models.

The card is the part of the manifest that people read. It is not needed to find bytes, but to reproduce a result.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer, model_validator

from dsetpack.formats.model import Model
from dsetpack.formats.words import plural

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Positive = Annotated[int, Field(ge=1, lt=2**63)]
Shape = tuple[Positive, Positive, Positive]
Share = Annotated[float, Field(ge=0, le=1)]
Stds = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class _SpaceModel(Model):
    """The base of the space models: ``kind`` is written even if defaults are left out, because a reader needs it."""

    kind: str

    @model_serializer(mode="wrap")
    def _keep_kind(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**dump(self), "kind": self.kind}


class RawSpace(_SpaceModel):
    """Pixel values in [0, 1]: the values of the image files divided by 255."""

    kind: Literal["raw"] = "raw"


class NormalizedSpace(_SpaceModel):
    """``(raw - mean) / std`` for each channel."""

    kind: Literal["normalized"] = "normalized"
    mean: Annotated[tuple[float, ...], Field(min_length=1)]
    std: Stds

    @model_validator(mode="after")
    def _same_channels(self) -> NormalizedSpace:
        if len(self.mean) != len(self.std):
            raise ValueError(f"'mean' has {plural(len(self.mean), 'channel')} and 'std' has {len(self.std)}")
        return self


class ZcaSpace(_SpaceModel):
    """ZCA whitening, fitted on the training images that ``fitted_on`` pins.

    Images are rows of D = C·H·W pixels in C×H×W order. S and U are the eigenvalues and eigenvectors of the covariance
    of the N images; ``matrix = U diag(f) Uᵀ`` and ``whitened = (x - mean) @ matrix``. The variants are not
    interchangeable:

    - ``kornia`` (HaBa, MTT): x is raw in [0, 1], the covariance is divided by N - 1, ``f = (S + epsilon)^-1/2``.
    - ``frepo`` (FRePo, ISA): x is first standardised by ``channel_mean`` and ``channel_std``, the covariance is divided
      by N, ``f = (S + epsilon · trace / D)^-1/2``; if N < D, f is 1 for the D - N smallest eigenvalues. It is only for
      images up to 64×64: the release whitens larger ones as a checkerboard of blocks, which this model does not
      describe.

    Attributes:
        variant: ``kornia`` or ``frepo``.
        epsilon: the variant's regularisation, 0.1 in both releases.
        fitted_on: digest of the raw training images (float32, N×C×H×W) the transform was fitted on: SHA-256 over the
            four sizes as little-endian uint64, then the values as little-endian float32 in C order.
        storage: ``embed`` keeps mean and matrix as tensors of the pack; ``refit`` keeps only what checks a refit.
        mean, matrix: names of the embedded tensors: float32 [D] and [D, D].
        channel_mean, channel_std: the standardisation before whitening (always and only for ``frepo``).
        spectrum: the largest eigenvalues of the covariance before regularisation, in descending order; a refit must
            reproduce them. ``refit`` needs at least one.
    """

    kind: Literal["zca"] = "zca"
    variant: Literal["kornia", "frepo"]
    epsilon: Annotated[float, Field(gt=0)]
    fitted_on: Digest
    storage: Literal["embed", "refit"]
    mean: str | None = None
    matrix: str | None = None
    channel_mean: tuple[float, ...] | None = None
    channel_std: Stds | None = None
    spectrum: tuple[Annotated[float, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _storage_matches(self) -> ZcaSpace:
        named = {self.mean is not None, self.matrix is not None}
        if named != {self.storage == "embed"}:
            raise ValueError("storage 'embed' needs the tensors 'mean' and 'matrix', and 'refit' has neither")
        if self.storage == "refit" and not self.spectrum:
            raise ValueError("storage 'refit' needs a 'spectrum' to check the refit against")
        if list(self.spectrum) != sorted(self.spectrum, reverse=True):
            raise ValueError("'spectrum' must be in descending order")
        return self

    @model_validator(mode="after")
    def _standardisation_matches(self) -> ZcaSpace:
        given = {self.channel_mean is not None, self.channel_std is not None}
        if given != {self.variant == "frepo"}:
            raise ValueError("variant 'frepo' needs 'channel_mean' and 'channel_std', and 'kornia' has neither")
        if self.channel_mean is not None and len(self.channel_mean) != len(self.channel_std or ()):
            raise ValueError("'channel_mean' and 'channel_std' have different numbers of channels")
        return self


SpaceModel = Annotated[RawSpace | NormalizedSpace | ZcaSpace, Field(discriminator="kind")]


class Labels(Model):
    """How labels are stored.

    ``hard``: one class number per source. ``soft``: one float per class and source; ``centred`` says that rows sum to
    about zero (FRePo's targets), so they are regression targets and not probabilities.
    """

    kind: Literal["hard", "soft"] = "hard"
    centred: bool = False


class Augmentation(Model):
    """DSA (Zhao & Bilen 2021): the operations to draw from, and their strengths.

    The strengths mean what they mean in the released code, and the defaults are its values. U(a, b) is a uniform draw.
    Images stay in the pack's space (the release does not undo normalisation or whitening first).

    Attributes:
        ops: the operations, in the order in which ``all`` applies them.
        mode: ``one`` applies one operation drawn for each batch (the release's ``S``); ``all`` applies every one in
            order (``M``).
        brightness: ``color`` adds brightness · U(-0.5, 0.5). 0 leaves the image unchanged.
        saturation: ``color`` then multiplies the distance to the pixel's mean over channels by U(0, saturation).
        contrast: ``color`` then multiplies the distance to the image's mean by U(contrast, contrast + 1).
        crop: ``crop`` shifts by whole pixels, drawn uniformly up to ± this share of the side, and fills with zeros.
        cutout: ``cutout`` zeroes a rectangle with sides of this share; its centre may lie anywhere in the image.
        flip: ``flip`` mirrors left to right with this probability.
        scale: ``scale`` shrinks height and width, each by its own factor U(1/scale, scale), and fills with zeros. 1
            leaves the image unchanged.
        rotate: ``rotate`` turns by U(-rotate, rotate) degrees and fills with zeros.
        align_corners: for the bilinear sampling of ``scale`` and ``rotate``; false in DSA, DC, DM, true in MTT, HaBa.
    """

    name: Literal["dsa"] = "dsa"
    ops: Annotated[
        tuple[Literal["color", "crop", "cutout", "flip", "scale", "rotate"], ...], Field(min_length=1, max_length=6)
    ]
    mode: Literal["one", "all"] = "one"
    brightness: Annotated[float, Field(ge=0)] = 1.0
    saturation: Annotated[float, Field(ge=0)] = 2.0
    contrast: Annotated[float, Field(ge=0)] = 0.5
    crop: Share = 0.125
    cutout: Share = 0.5
    flip: Share = 0.5
    scale: Annotated[float, Field(ge=1)] = 1.2
    rotate: Annotated[float, Field(ge=0, le=180)] = 15.0
    align_corners: bool = False

    @model_validator(mode="after")
    def _each_once(self) -> Augmentation:
        if len(set(self.ops)) != len(self.ops):
            raise ValueError(f"'ops' names an operation twice: {', '.join(self.ops)}")
        return self


class Recipe(Model):
    """How to train a network on the pack: what ``Pack.train`` does.

    Exactly one of ``epochs`` and ``steps`` is set. ``lr`` is the learned rate if the method learns it. It is
    multiplied by ``gamma`` at each of the ``milestones``, which are shares of all steps.

    Attributes:
        warmup: over this many first steps the rate rises linearly, from 0 at step 0.
        final: after the warmup the rate also falls along half a cosine to this share of itself; 1 means no decay.
        cutmix: the probability that a batch is mixed by CutMix (Yun et al. 2019), after augmentation.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    batch_size: Positive = 256
    epochs: Positive | None = None
    steps: Positive | None = None
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    gamma: Annotated[float, Field(gt=0)] = 0.2
    final: Share = 1.0
    warmup: Annotated[int, Field(ge=0, lt=2**63)] = 0
    cutmix: Share = 0.0
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    arch: str = "convnet3"
    width: Positive | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Recipe:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("set exactly one of 'epochs' and 'steps'")
        return self


class Metric(Model):
    """One measured accuracy, a fraction in [0, 1]: its mean over seeds, and the network and test data.

    ``test_digest`` is the digest of the test images (``space.fitted_on`` says over what), ``test_labels_digest`` that
    of their labels in the same order: SHA-256 over little-endian int64.
    """

    name: str = "accuracy"
    value: float
    std: float | None = None
    seeds: Positive = 1
    arch: str
    width: Positive | None = None
    test_data: str
    test_digest: Digest | None = None
    test_labels_digest: Digest | None = None
    protocol: str = "own"
    note: str | None = None


class Provenance(Model):
    """Where a pack comes from: the real data, the method with its settings, and what made the file."""

    dataset: str | None = None
    dataset_digest: Digest | None = None
    method: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    budget_floats: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    software: dict[str, str] = Field(default_factory=dict)
    created: str | None = None


class Card(Model):
    """What a pack is.

    Attributes:
        title, description, license, credit: texts for people.
        classes: class names; a label is an index into them.
        shape: the shape (C, H, W) of one decoded image.
        space: what decoded pixel values mean.
        labels: hard or soft.
        epoch_rule: ``paired`` (each source once, with a drawn decoder: HaBa, IDC) or ``product`` (every pair:
            KFS).
        per_class: images per class and epoch if a part is a generator (DiM's INPC).
        finite: whether the decoded tensors are free of NaN and infinity; a reader checks it.
        augmentation, recipe: how to train on it.
        provenance, metrics: where the pack comes from and what was measured.
        extra: any JSON that the user adds.
    """

    title: str
    description: str = ""
    license: str | None = None
    credit: str | None = None
    classes: tuple[str, ...] = Field(min_length=1)
    shape: Shape
    space: SpaceModel = Field(default_factory=RawSpace)
    labels: Labels = Field(default_factory=Labels)
    epoch_rule: Literal["paired", "product"] = "product"
    per_class: Positive | None = None
    finite: bool = True
    augmentation: Augmentation | None = None
    recipe: Recipe | None = None
    provenance: Provenance = Field(default_factory=Provenance)
    metrics: tuple[Metric, ...] = ()
    extra: dict[str, JsonValue] = Field(default_factory=dict)

    def replace(self, **changes: Any) -> Card:
        """A copy with some fields changed, validated again."""
        return Card.model_validate({**{k: getattr(self, k) for k in type(self).model_fields}, **changes})
