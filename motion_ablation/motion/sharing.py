"""An embedding as others find it: a folder, or a repository of the Hugging Face hub, with a model card that says what it is."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, Self

import yaml

from motion_ablation.files import read_json, replacing, write_json

FILE, RECORD, CARD = "motion.safetensors", "result.json", "README.md"
TEMPLATE = Path(__file__).with_name("card.md.jinja")


class Shareable(ABC):
    """Saves to, and loads from, folders and the hub; a run's folder is such a folder.

    Attributes:
        record: what the run's ``result.json`` tells (configuration, captions, scores, protocols); empty where there is none.
    """

    record: dict[str, Any]

    @abstractmethod
    def save(self, path: str | Path, **extra: str) -> None:
        """Writes the embedding's file."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | Path) -> Self:
        """Reads the embedding's file."""

    def save_pretrained(self, folder: str | Path, repo: str = "") -> None:
        """Writes ``motion.safetensors``, ``result.json`` and ``README.md``, the model card, into a folder. No absolute path is in them.

        Args:
            repo: the hub id that the card names; else it names the folder.
        """
        folder = Path(folder).expanduser()
        self.save(folder / FILE)
        if self.record:
            write_json(folder / RECORD, public(self.record))
        with replacing(folder / CARD) as part:
            part.write_text(model_card(public(self.record), repo or folder.name), encoding="utf-8")

    def push_to_hub(self, repo: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Uploads what :meth:`save_pretrained` writes to a repository, made where there is none, and returns the commit's address.

        Args:
            repo: hub id, ``OWNER/NAME`` or ``NAME``. private: of a new repository; None is the owner's default.
            token: None is the one of ``hf auth login``.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        name = api.create_repo(repo, private=private, exist_ok=True).repo_id
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, name)
            return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload a motion embedding"))

    @classmethod
    def from_pretrained(cls, source: str | Path, *, revision: str | None = None, token: str | None = None) -> Self:
        """Loads from a folder or a file, without a network, or else from the hub.

        Args:
            source: a run's folder, a ``motion.safetensors``, or a hub id. revision, token: of the hub's repository.

        Raises:
            ValueError: in one line, naming the place and the reason.
        """
        path = Path(source).expanduser()
        path = path if path.exists() else _fetched(str(source), revision, token)
        folder = path if path.is_dir() else path.parent
        motion = cls.load(path / FILE if path.is_dir() else path)
        motion.record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
        return motion


def _fetched(repo: str, revision: str | None, token: str | None) -> Path:
    """The local copy of a repository's files. Raises ``ValueError`` in one line."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(repo, revision=revision, token=token, allow_patterns=[FILE, RECORD]))
    except HFValidationError:
        raise ValueError(f"no motion embedding at {repo}: it is neither a folder, nor a file, nor a hub id such as OWNER/NAME") from None
    except OSError as error:  # all of the hub's errors are such
        reason = " ".join(str(error).split())
        raise ValueError(f"no motion embedding at {repo}: no such folder, and the hub does not give it ({reason[:200]})") from error


def public(value: Any) -> Any:
    """Plain data without what is this machine's own: of an absolute path its last part is left."""
    if isinstance(value, dict):
        return {key: public(each) for key, each in value.items() if key != "cache"}
    if isinstance(value, list):
        return [public(each) for each in value]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


def model_card(record: dict[str, Any], place: str) -> str:
    """The card's text.

    Args:
        record: as in ``result.json``. place: hub id or folder, for the example of use.
    """
    from huggingface_hub import ModelCard, ModelCardData

    config = record.get("config", {})
    backbone = config.get("model", {}).get("backbone", {})
    source = str(backbone.get("source", ""))
    data = ModelCardData(
        base_model=source if source.count("/") == 1 and not Path(source).is_dir() else None,
        library_name="motion-ablation",
        pipeline_tag="text-to-video",
        tags=["motion-customization", "motion-inversion", "diffusers"],
    )
    settings = {name: config[name] for name in ("model", "data") if name in config}
    card = str(
        ModelCard.from_template(
            data,
            template_str=TEMPLATE.read_text(encoding="utf-8"),
            place=place,
            backbone=backbone,
            captions=record.get("captions", {}),
            sampling=config.get("model", {}).get("sampling", {}),
            clip=config.get("data", {}),
            steps=record.get("steps"),
            scores=_scores(record),
            settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).strip() if settings else "",
            versions=record.get("versions", {}),
        )
    )
    return re.sub(r"\n{3,}", "\n\n", card)


def _scores(record: dict[str, Any]) -> list[tuple[str, str, str, int, str]]:
    """Metric, initial noise, mean, number of scored videos and protocol of every score that there is."""
    rows = []
    for name, value in record.get("metrics", {}).items():
        noise, _, metric = name.partition("/")
        # A row of the record has every metric of single videos, null where it withheld its score, and none of whole sets.
        videos = sum(cell["noise"] == noise and cell.get(metric, value) is not None for cell in record.get("cells", []))
        protocol = "; ".join(f"{key.replace('_', ' ')}: {each}" for key, each in record.get("protocols", {}).get(metric, {}).items())
        if value is not None:
            rows.append((metric.replace("_", " "), noise, f"{value:.3f}", videos, protocol.replace("|", "\\|")))
    return rows
