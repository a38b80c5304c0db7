"""ISA: FRePo with crucial samples only, and with all points between them ("Boosting dataset distillation", Eq. 5-7).

In the outer loop of a regression objective:

1. Drop the share p of the real batch that is predicted best, by Eq. 5's loss (``crucial``).
2. Replace each remaining sample's loss by its mean over all points between it and a partner, in closed form (Eq. 7):

       1/ε ∫₀^ε ‖A + αB‖² dα = ‖A‖² + ε A·B + ε²/3 ‖B‖²

   A is the sample's residual (prediction minus label). Features and labels are interpolated alike, and the predictor is
   linear in features, so B = (z' - z) weights - (y' - y) is the partner's residual minus the sample's.

The text leaves some things open:

- *The partner* is not specified. Inferred: each remaining sample's partner is the next one; the last one's is the
  first. The batch is in random order, so the partner is random; it is the sample itself only if no other remains.
- *The factor ½* is in Eq. 5 but not in Eq. 6 and 7, although their first term is called "the original outer-loop loss".
  The default keeps it (``half``), so that ε = 0 and p = 0 is FRePo; it matters only relative to the margin term.
- *The direction*: the prose has ẑ = αz + (1 - α)z', Eq. 6 has z + α(z' - z). Here it is Eq. 6: ε = 0 changes nothing.
- *λ* is written as 10⁻⁶ tr(K), "following" FRePo, whose code has 10⁻⁶ tr(K)/N. The default is the code's
  (``ridge_scale``).

For matching objectives (appendix F, Table 8: DM and MTT) the paper gives figures but no equations:

- DM has no regression loss to rank samples by. Inferred: a real sample's loss is ½ ‖its feature - the synthetic mean of
  its class‖², the share p is dropped within the class's batch, the mean over the rest is matched (``crucial_mean``).
  Interpolation changes nothing there: if partners are a permutation of a class's samples, the interpolated features
  have the same mean for every α, and DM's gradient depends on the mean alone. (Labels do not enter DM.)
- MTT's outer loop compares parameters and has no samples. Real samples have a loss only in the training of experts.
  Inferred: there each step leaves out the share p of its batch ("ranks losses within batches", appendix G), so that
  trajectories are those of crucial samples (``experts.drop``). For cross-entropy Eq. 7 has no closed form, so nothing
  is interpolated.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import Model
from dsetpack.trainers.context import Context
from dsetpack.trainers.objectives import frepo
from dsetpack.trainers.parameterizations.base import Parameterization


class IsaSettings(Model):
    """Settings of ISA's change to the outer loop.

    Attributes:
        drop: p, the share of the real batch that is left out, the easiest first.
        epsilon: ε, how far to go towards the partner; 0 for no interpolation.
        half: whether Eq. 5's factor ½ applies (inferred; Eq. 7 as printed lacks it).
    """

    drop: Annotated[float, Field(ge=0, lt=1)] = 0.2
    epsilon: Annotated[float, Field(ge=0, le=1)] = 1.0
    half: bool = True


class FrepoIsaSettings(frepo.FrepoSettings):
    """FRePo's settings with ISA's change.

    Attributes:
        isa: the change. With ``drop`` 0, ``epsilon`` 0 and ``half`` the result is FRePo's, bit for bit.
    """

    name: Literal["isa"] = "isa"  # type: ignore[assignment]
    isa: IsaSettings = IsaSettings()

    @override
    def build(self, context: Context, synthetic: Parameterization) -> CrucialRegression:
        return CrucialRegression(self, context, self.isa)


class CrucialRegression(frepo.FeatureRegression):
    """FRePo with ISA's outer loss (Algorithm 1)."""

    def __init__(self, settings: frepo.FrepoSettings, context: Context, isa: IsaSettings) -> None:
        super().__init__(settings, context)
        self.isa = isa

    @override
    def outer(self, residuals: Tensor) -> Tensor:
        kept = residuals[crucial(frepo.half_square(residuals.detach()), self.isa.drop)]
        return interpolation_loss(kept, kept.roll(-1, 0) - kept, self.isa.epsilon, half=self.isa.half).mean()


def crucial(losses: Tensor, drop: float) -> Tensor:
    """The samples that stay: all but the floor(drop · n) of lowest loss; among equal losses the earlier sample goes.

    Args:
        losses: [n], n >= 1. NaN counts as the highest loss.
        drop: 0 <= drop < 1; a product within 1e-9 below a whole number counts as that number (0.29 · 100 is 29).

    Returns:
        indices, int64, in rising order; at least one.

    Raises:
        FormatError: if ``losses`` or ``drop`` is not as described.
    """
    if losses.ndim != 1 or not len(losses) or not 0 <= drop < 1:
        raise FormatError(f"losses {list(losses.shape)}, drop {drop}; expected [n] with n >= 1, and 0 <= drop < 1")
    easy = min(math.floor(drop * len(losses) + 1e-9), len(losses) - 1)
    return losses.argsort(stable=True)[easy:].sort().values


def interpolation_loss(residuals: Tensor, steps: Tensor, epsilon: float, *, half: bool = False) -> Tensor:
    """The mean of ‖A + αB‖² over α from 0 to ε, for each sample (Eq. 7).

    Args:
        residuals: A = z·weights - y, float [n, classes].
        steps: B = (z' - z)·weights - (y' - y), float [n, classes].
        epsilon: ε >= 0.
        half: whether to multiply by ½, as in Eq. 5.

    Returns:
        [n].
    """
    loss = residuals.square().sum(1)
    if epsilon:
        loss = loss + epsilon * (residuals * steps).sum(1) + epsilon**2 / 3 * steps.square().sum(1)
    return loss / 2 if half else loss


def crucial_mean(features: Tensor, centre: Tensor, drop: float) -> Tensor:
    """The mean of a class's real features without the share that the synthetic set represents best, for DM.

    Inferred; see the module's docstring.

    Args:
        features: the features of one class's real images, float [n, F].
        centre: the mean of the class's synthetic features, [F]; treated as constant.
        drop: the share to leave out.

    Returns:
        [F].
    """
    losses = frepo.half_square(features.detach() - centre.detach())
    return features[crucial(losses, drop)].mean(0)


SETTINGS = FrepoIsaSettings
