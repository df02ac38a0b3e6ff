"""Several networks as one: the weighted mean of what each says after its own calibration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from torch import Tensor, nn

from lightning_models.features import FeatureSpec
from lightning_models.networks.forecast_network import RawForecast
from lightning_models.networks.trunk import TrunkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from lightning_models.calibration import DirectionCalibration
    from lightning_models.timeouts import TimeoutCalibration

__all__ = ["EnsembleConfig", "EnsembleMember", "EnsembleNetwork", "MemberNetwork"]


def _network_config(value: Any) -> Any:
    # Found late: the table of networks has a row for ensembles too.
    from lightning_models.networks.table import NetworkConfig

    adapter: TypeAdapter[TrunkConfig] = TypeAdapter(NetworkConfig)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error


class EnsembleMember(BaseModel):
    """One of the networks.

    Parameters
    ----------
    name
        What it is called: the fixed name of a registered model, or any other.
    network
        Of the table.
    features
        What it reads, some of the ensemble's; none stands for all of them.
    lookback
        Rows of its window, at most the ensemble's; by default as many.
    clip
        Its scaled features are held within plus and minus this many deviations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    network: Annotated[SerializeAsAny[TrunkConfig], BeforeValidator(_network_config)]
    features: tuple[FeatureSpec, ...] = ()
    lookback: PositiveInt | None = None
    clip: PositiveFloat = 10.0


class EnsembleConfig(TrunkConfig):
    """The networks of an ensemble; what was fitted of them lies in the weights.

    Parameters
    ----------
    members
        At least two, each with a name of its own.
    """

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[EnsembleMember, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _names_differ(self) -> EnsembleConfig:
        names = [member.name for member in self.members]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"the member {doubled[0]!r} is there twice: give each another name")
        return self


class MemberNetwork(nn.Module):
    """A network that reads an ensemble's windows and answers with calibrated logits.

    Parameters
    ----------
    config
        Of the member.
    features
        Width of the ensemble's windows.
    horizons
        Length of the horizon axis.
    target
        Name of what it is trained on.

    Attributes
    ----------
    columns : Tensor
        ``int64 [F]``, where its features lie among the ensemble's.
    scale, shift : Tensor
        ``[F]``, from the ensemble's scaled features to the member's own.
    temperature, bias : Tensor
        ``[horizon]``, of its own calibration.
    timeout_base, timeout_slope, timeout_shift : Tensor
        ``[horizon]``, of its calibration of P(time-out), as `TimeoutCalibration` has them, the
        base being the logit of its rate; there with barriers alone.
    """

    columns: Tensor
    scale: Tensor
    shift: Tensor
    temperature: Tensor
    bias: Tensor
    timeout_base: Tensor
    timeout_slope: Tensor
    timeout_shift: Tensor

    def __init__(
        self, config: EnsembleMember, features: int, horizons: int, *, target: str
    ) -> None:
        from lightning_models.networks.table import build_network

        super().__init__()
        width = len(config.features) or features
        self.network = build_network(
            config.network, features=width, horizons=horizons, target=target
        )
        self.horizons, self.has_barriers = horizons, target == "triple-barrier"
        self.lookback, self.clip = config.lookback, config.clip
        self.register_buffer("columns", torch.arange(width) % features)
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("temperature", torch.ones(horizons))
        self.register_buffer("bias", torch.zeros(horizons))
        if self.has_barriers:
            self.register_buffer("timeout_base", torch.zeros(horizons))
            self.register_buffer("timeout_slope", torch.ones(horizons))
            self.register_buffer("timeout_shift", torch.zeros(horizons))

    def forward(self, window: Tensor) -> RawForecast:
        """Return the calibrated forecast of the ensemble's windows ``[batch, time, feature]``.

        With barriers the logits are ``[batch, 2 * horizon]``, also where the network itself says
        nothing of time-outs and the calibrated share of the train labels stands in.
        """
        rows = window if self.lookback is None else window[:, -self.lookback :]
        own = rows.index_select(2, self.columns) * self.scale + self.shift
        raw = self.network(own.clamp(-self.clip, self.clip))
        said = raw.logits.to(window.dtype)
        logits = said[:, : self.horizons] / self.temperature + self.bias
        if self.has_barriers:
            timeouts = (self.timeout_base + self.timeout_shift).expand_as(logits)
            if said.shape[1] > self.horizons:
                away = said[:, self.horizons :] - self.timeout_base
                timeouts = timeouts + self.timeout_slope * away
            logits = torch.cat([logits, timeouts], dim=1)
        return RawForecast(logits, raw.quantiles.to(window.dtype))

    def take(
        self,
        network: nn.Module,
        *,
        columns: Sequence[int],
        scale: npt.ArrayLike,
        shift: npt.ArrayLike,
        calibration: Sequence[DirectionCalibration],
        timeouts: Sequence[TimeoutCalibration] = (),
    ) -> None:
        """Copy a fitted network's weights, scaling and calibration.

        Parameters
        ----------
        network
            Built from the member's configuration.
        columns, scale, shift
            As the buffers of those names.
        calibration
            One for each horizon.
        timeouts
            One for each horizon with barriers, otherwise none.
        """
        self.network.load_state_dict(network.state_dict())
        found = {
            "columns": columns,
            "scale": scale,
            "shift": shift,
            "temperature": [one.temperature for one in calibration],
            "bias": [one.bias for one in calibration],
        }
        if self.has_barriers:
            found["timeout_base"] = [math.log(one.rate / (1.0 - one.rate)) for one in timeouts]
            found["timeout_slope"] = [one.slope for one in timeouts]
            found["timeout_shift"] = [one.shift for one in timeouts]
        for name, values in found.items():
            buffer: Tensor = getattr(self, name)
            buffer.copy_(torch.as_tensor(values, dtype=buffer.dtype))


class EnsembleNetwork(nn.Module):
    r"""The weighted mean of its members' calibrated logits and of their quantiles.

    With member :math:`m`'s logit :math:`z_m`, temperature :math:`T_m`, bias :math:`b_m` and
    weight :math:`w_m`, the logit is :math:`\sum_m w_m (z_m / T_m + b_m)`: the logarithmic opinion
    pool (Genest and Zidek, 1986). Quantiles are averaged level by level, which keeps their order
    (Vincent, 1912). Bundles, predictor, registry and indicator take it for a `ForecastNetwork`
    over closed windows.

    Parameters
    ----------
    config
        Of the members.
    features
        Width of the windows.
    horizons
        Length of the horizon axis.
    target
        Name of what the members are trained on.

    Attributes
    ----------
    members : nn.ModuleList
        Of `MemberNetwork`.
    weights : Tensor
        ``[member]``, not negative, adding up to 1.
    """

    weights: Tensor

    def __init__(
        self,
        config: EnsembleConfig,
        features: int,
        horizons: int,
        *,
        target: str = "horizon-return",
    ) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(
            MemberNetwork(member, features, horizons, target=target) for member in config.members
        )
        count = len(config.members)
        self.register_buffer("weights", torch.full((count,), 1.0 / count))

    def forward(self, window: Tensor) -> RawForecast:
        """Return the joined forecast of windows ``[batch, time, feature]``."""
        raw = [member(window) for member in self.members]
        logits = torch.stack([one.logits for one in raw], dim=-1)
        quantiles = torch.stack([one.quantiles for one in raw], dim=-1)
        return RawForecast((logits * self.weights).sum(-1), (quantiles * self.weights).sum(-1))
