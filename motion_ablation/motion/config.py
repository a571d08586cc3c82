"""What a YAML says of motion: streams, each a point in the ablation space, checked before any weight is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.records import Site
from motion_ablation.registry import Registry

PORTS = ("q", "k", "v")
SIDES = ("inputs", "outputs")
STAGES = ("down", "mid", "up", "in")


def named(axis: Registry[Any], spec: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Splits ``{name: ..., **options}`` and refuses what the axis does not know, naming the place in the YAML."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, dict) or "name" not in spec:
        raise ValueError(f"{where}: give a {axis.axis} as {{name: ...}}. Choices: {', '.join(axis)}")
    options = {key: value for key, value in spec.items() if key != "name"}
    try:
        axis.check_options(spec["name"], options)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return spec["name"], options


@dataclass
class StreamConfig:
    """One motion embedding.

    Attributes:
        ports: projections of a temporal attention that it enters: any of ``q``, ``k``, ``v``.
        side: ``inputs`` of the projections (the paper) or their ``outputs``.
        layout, integration, debias: ``{name: ..., **options}``; debias acts only when generating.
        shared: one embedding for all temporal attentions of a block, or one for each.
    """

    ports: list[str] = field(default_factory=lambda: ["q", "k"])
    side: str = "inputs"
    layout: dict[str, Any] = field(default_factory=lambda: {"name": "per_frame"})
    integration: dict[str, Any] = field(default_factory=lambda: {"name": "add"})
    debias: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    shared: bool = True

    def check(self, where: str) -> None:
        """Raises ``ValueError`` naming the key and the valid choices."""
        unknown = [port for port in self.ports if port not in PORTS]
        if unknown or not self.ports or len(set(self.ports)) != len(self.ports):
            raise ValueError(f"{where}.ports: {self.ports} is not a non-empty choice of {', '.join(PORTS)}, each at most once")
        if self.side not in SIDES:
            raise ValueError(f"{where}.side: '{self.side}' is not one of {', '.join(SIDES)}")
        name, options = named(LAYOUTS, self.layout, f"{where}.layout")
        LAYOUTS[name].check(**options)
        named(INTEGRATIONS, self.integration, f"{where}.integration")
        name, options = named(DEBIASES, self.debias, f"{where}.debias")
        DEBIASES.build(name, **options)


@dataclass
class SiteConfig:
    """Which temporal attentions carry motion.

    Attributes:
        stages: parts of the U-Net: any of ``down``, ``mid``, ``up``, ``in``.
        channels: ``widest`` (the paper: 1280 in ZeroScope), ``all``, or a list of widths.
    """

    stages: list[str] = field(default_factory=lambda: ["down", "up"])
    channels: str | list[int] = "widest"

    def check(self, where: str) -> None:
        """Raises ``ValueError`` naming the key and the valid choices."""
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise ValueError(f"{where}.stages: {self.stages} is not a non-empty choice of {', '.join(STAGES)}")
        if isinstance(self.channels, str) and self.channels not in ("widest", "all"):
            raise ValueError(f"{where}.channels: '{self.channels}' is not widest, all or a list of widths")

    def select(self, sites: list[Site]) -> list[Site]:
        """The chosen sites. Raises ``ValueError`` if there are none, listing those that exist."""
        staged = [site for site in sites if site.stage in self.stages]
        widest = max((site.channels for site in staged), default=0)
        if self.channels == "all":
            chosen = staged
        elif self.channels == "widest":
            chosen = [site for site in staged if site.channels == widest]
        else:
            chosen = [site for site in staged if site.channels in self.channels]
        if not chosen:
            known = sorted({(site.stage, site.channels) for site in sites})
            raise ValueError(f"no temporal attention matches stages {self.stages} and channels {self.channels}; this backbone has {known}")
        return chosen


@dataclass
class MotionConfig:
    """The streams of a motion embedding; without any, the model is the plain backbone.

    Attributes:
        qk: the Motion Query-Key embedding. v: the Motion Value embedding. sites: where they live.
    """

    qk: StreamConfig | None = None
    v: StreamConfig | None = None
    sites: SiteConfig = field(default_factory=SiteConfig)

    @classmethod
    def paper(cls) -> MotionConfig:
        """The paper's two streams, as ``defaults.yaml`` has them."""
        value = StreamConfig(ports=["v"], layout={"name": "per_location"}, debias={"name": "difference", "lag": 1}, shared=False)
        return cls(qk=StreamConfig(), v=value)

    def streams(self) -> dict[str, StreamConfig]:
        """The streams that are there, by name."""
        return {name: stream for name, stream in (("qk", self.qk), ("v", self.v)) if stream is not None}

    def check(self) -> None:
        """Raises ``ValueError`` for anything that cannot work, before any weight is loaded."""
        for name, stream in self.streams().items():
            stream.check(f"motion.{name}")
        self.sites.check("motion.sites")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MotionConfig:
        """Inverse of :meth:`to_dict`."""
        streams = {name: StreamConfig(**data[name]) if data.get(name) else None for name in ("qk", "v")}
        config = cls(**streams, sites=SiteConfig(**data["sites"]))
        config.check()
        return config
