"""What determines a run's results and what determines the embedding it learns, each as a hash: configuration, weights, content and code."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from motion_ablation.backbones import BACKBONES, Backbone
from motion_ablation.cache.artefacts import checksum, content_hash, files_hash
from motion_ablation.cache.code import code_of
from motion_ablation.data.reference import Source
from motion_ablation.data.world.builtin import builtin
from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.metrics import METRICS, EvaluationConfig
from motion_ablation.metrics.base import sources_of
from motion_ablation.metrics.networks.sources import content_of
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.motion.adapters import ADAPTERS, APPEARANCES
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.objectives import OBJECTIVES
from motion_ablation.records import Cell, Clip

# What changes where or how loudly a run computes, not what comes out.
INCIDENTAL = {
    "model": {"cache"},
    "data": {"cache", "references", "reference"},
    "trainer": {"logger", "default_root_dir", "enable_progress_bar", "enable_model_summary", "log_every_n_steps", "profiler"},
}
# Options of backbones that trade time for memory, with the same result; but in float16, where recomputed gradients underflow less.
THRIFT = {"gradient_checkpointing"}
# What a run does once it has learnt.
LATER = {
    "model": {"sampling"},
    "data": {"prompts", "seeds", "noises", "videos", "val_batch_size"},
    "trainer": {"callbacks", "check_val_every_n_epoch", "val_check_interval", "limit_val_batches", "num_sanity_val_steps"},
}


# Lightning's callbacks that leave training as it is.
LOOKING = {
    "ModelCheckpoint",
    "LearningRateMonitor",
    "DeviceStatsMonitor",
    "ModelSummary",
    "RichModelSummary",
    "RichProgressBar",
    "TQDMProgressBar",
}


def addresses(config: dict[str, Any], backbone: str, source: Source) -> tuple[str, str]:
    """The addresses of a run's results and of the embedding that it learns; the latter is empty where it learns none.

    Args:
        config: the resolved configuration. backbone: fingerprint of its weights. source: the run's reference.

    Raises:
        OSError: if the reference's file cannot be read.
    """
    own = [config["seed_everything"], reference_digest(source)]
    learnt = content_hash([training_recipe(config, backbone), *own]) if trains_of(config) else ""
    return content_hash([recipe_of(config, backbone), source.name, *own]), learnt


def recipe_of(config: dict[str, Any], backbone: str) -> str:
    """Hash of what determines an experiment's results, reference and training seed apart.

    Args:
        config: the resolved configuration. backbone: fingerprint of its weights.
    """
    entries = [*_learning(config), *_motion(config, debiases=True), *(INITIAL_NOISES[name] for name in config["data"]["noises"])]
    metrics = EvaluationConfig(**config["evaluation"]).options()
    versions = [metric_version({"name": name, **options}) for name, options in metrics.items()]
    return content_hash([code_of("result", *entries), _counted(config), backbone, versions])


def training_recipe(config: dict[str, Any], backbone: str) -> str:
    """Hash of what determines the trained embedding, reference and seed apart; what acts on generation only is left out."""
    counted = copy.deepcopy(_counted(config, later=False))
    counted["trainer"]["callbacks"] = [callback for callback in config["trainer"]["callbacks"] or [] if not _only_looks(callback)]
    for stream in (counted["model"]["motion"] or {}).values():
        if isinstance(stream, dict) and stream.get("when") == "generate":
            del stream["debias"]
    return content_hash([code_of("embedding", *_learning(config), *_motion(config, debiases=False)), counted, backbone])


def _only_looks(callback: dict[str, Any]) -> bool:
    """Whether a callback is known to leave training as it is; any other (``StochasticWeightAveraging``) may not."""
    module, _, name = callback["class_path"].rpartition(".")
    return f"{module}.".startswith("motion_ablation.callbacks.") or name in LOOKING


def trains_of(config: dict[str, Any]) -> bool:
    """Whether a configuration has motion embeddings to learn."""
    motion = config["model"]["motion"] or {}
    return bool(motion.get("qk") or motion.get("v") or motion.get("adapter"))


def reference_digest(source: Source) -> str:
    """Hash of a reference's content and caption."""
    if source.path is None:
        return content_hash(repr(builtin(source.builtin)))
    path = source.path
    sidecar = path.parent / f"{path.name if path.is_dir() else path.stem}.txt"
    begin = source.start if source.range is None else str(source.range)
    return content_hash([source.caption, begin, list(source.prompts), files_hash(path), files_hash(sidecar)])


def _counted(config: dict[str, Any], later: bool = True) -> dict[str, dict[str, Any]]:
    """The configuration without what is incidental; ``later``: with what acts once training is over.

    The backbone's source is left out, because its fingerprint counts. The embedding to start from counts by its content.
    """
    left_out = {section: names | (set() if later else LATER[section]) for section, names in INCIDENTAL.items()}
    counted = {section: {key: value for key, value in config[section].items() if key not in names} for section, names in left_out.items()}
    chosen = {key: value for key, value in config["model"]["backbone"].items() if key != "source"}
    options = chosen.get("options") or {}
    thrift = set() if options.get("dtype") == "float16" else THRIFT
    counted["model"]["backbone"] = {**chosen, "options": {key: value for key, value in options.items() if key not in thrift}}
    if config["model"]["embedding"]:
        counted["model"]["embedding"] = files_hash(Path(config["model"]["embedding"]))
    return counted


def _learning(config: dict[str, Any]) -> list[Any]:
    model = config["model"]
    looks = [APPEARANCES[model["appearance"]["name"]]] if model.get("appearance") else []
    return [BACKBONES[model["backbone"]["name"]], OBJECTIVES[model["objective"]["name"]], *looks]


def _motion(config: dict[str, Any], debiases: bool) -> list[Any]:
    motion = config["model"]["motion"]
    return motion_entries(MotionConfig.from_dict(motion), debiases) if motion else []


def metric_version(metric: dict[str, Any]) -> list[Any]:
    """All that determines a metric's scores: its name and options, its code, and the content of the weights and files that it reads.

    Which options name weights or files is what the metric declares as its ``sources``. They count by content, wherever that is: a hub id
    and a folder of the same weights are the same. Missing weights count by their name.

    Args:
        metric: ``{name: ..., **options}`` of a registered metric.

    Raises:
        ValueError: for an unknown metric or option.
    """
    name, options = METRICS.parse(metric, "evaluation.metrics")
    declared = METRICS[name].sources
    others = {key: value for key, value in options.items() if key not in declared}
    return [name, others, code_of("score", METRICS[name]), {key: content_of(source) for key, source in sources_of(name, options).items()}]


def motion_entries(motion: MotionConfig, debiases: bool = True) -> list[Any]:
    """The registered classes and functions that a configuration of motion names; ``debiases``: also those that act on generation only."""
    entries = [ADAPTERS[motion.adapter["name"]]] if motion.adapter else []
    for stream in motion.streams().values():
        entries += [LAYOUTS[stream.layout["name"]], INTEGRATIONS[stream.integration["name"]]]
        if debiases or stream.acts(generating=False):
            entries.append(DEBIASES[stream.debias["name"]])
    return entries


def latents_recipe(backbone: Backbone, clip: Clip, precision: str) -> dict[str, Any]:
    """All that determines a reference's latents and its caption's features."""
    code = code_of("latents", type(backbone))
    recipe = {"code": code, "backbone": backbone.fingerprint, "frames": content_hash(clip.frames), "caption": clip.caption}
    return recipe | _unusual(precision)


def text_recipe(backbone: Backbone, text: str) -> dict[str, Any]:
    """All that determines a text's features."""
    return {"code": code_of("latents", type(backbone)), "text_encoder": backbone.text_fingerprint, "text": text}


def inversion_recipe(backbone: Backbone, latents: dict[str, Any], steps: int, start: str, precision: str) -> dict[str, Any]:
    """All that determines an inverted noise: the recipe of the latents without the caption, the steps, and what is inverted."""
    seen = {key: value for key, value in latents.items() if key != "caption"}
    return {"code": code_of("inverted", type(backbone)), "latents": seen, "steps": steps, "start": start, **_unusual(precision)}


def video_recipes(
    backbone: Backbone, motion: MotionEmbeddings, clip: Clip, cells: list[Cell], sampling: list[Any], noise: dict[str, Any],
    inversion: dict[str, Any], precision: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """All that determines the videos of cells that share a reference and an initial noise. The reference's video counts only where
    the initial noise is made of it: what is learnt from it is in the embedding's own tensors. Its name is a part of each cell's seed.

    Args:
        sampling: steps, guidance, negative prompt. noise: options of the initial noise. inversion: recipe of the inverted noise, if used.
    """
    name = cells[0].noise
    shared = {
        "code": code_of("video", type(backbone), INITIAL_NOISES[name], *motion_entries(motion.config)),
        "backbone": backbone.fingerprint,
        "motion": [motion.config.to_dict(), checksum(motion.state_dict())] if motion.parameter_count else [],
        "shape": list(backbone.latent_shape(len(clip.frames), *clip.frames.shape[-2:])),
        "sampling": sampling,
        "noise": [name, noise, inversion],
        **_unusual(precision),
    }
    return [{**shared, "reference": cell.reference, "prompt": cell.prompt, "seed": cell.seed} for cell in cells]


def _unusual(precision: str) -> dict[str, str]:
    """The trainer's precision as a part of an address, where it is not the usual one."""
    return {} if precision == "32-true" else {"precision": precision}


def scores_recipe(metric: dict[str, Any], read: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """All that determines the scores of a batch of videos.

    Args:
        metric: see :func:`metric_version`. read: what it reads of each video, by field.
    """
    return {"metric": metric_version(metric), **{field: _contents(values) for field, values in read.items()}}


def _contents(values: Sequence[Any]) -> list[Any]:
    """Tensors by the hash of their content, anything else as it is; a tensor that several samples share is read once."""
    tensors = {id(tensor): tensor for value in values for tensor in _tensors(value)}
    hashes = {key: content_hash(tensor) for key, tensor in tensors.items()}

    def content(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: content(each) for key, each in value.items()}
        return hashes[id(value)] if isinstance(value, Tensor) else value

    return [content(value) for value in values]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Mapping):
        return [tensor for each in value.values() for tensor in _tensors(each)]
    return [value] if isinstance(value, Tensor) else []
