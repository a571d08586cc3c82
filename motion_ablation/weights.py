"""Weights on this machine: where they are, what they are, and, where they are not, what to fetch. Nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

BUILTIN = Path(__file__).parent / "weights"
HOME = Path.home() / ".cache" / "motion_ablation"
TENSORS = "*.safetensors or *.bin"
END = 1 << 20  # bytes of each end of a large file that its fingerprint reads


class MissingWeights(FileNotFoundError):
    """Weights that are not on this machine; the message says in one line what to fetch and where to put it."""


def find_folder(source: str | Path, holds: Sequence[str], kind: str, setting: str, example: str, builtin: str = "") -> Path:
    """The local folder of a model.

    Looked for in this order: the package's own weights (``shapes``), a folder of that path (``~`` is home), the local cache of the
    Hugging Face hub, and ``~/.cache/motion_ablation/OWNER--NAME``.

    Args:
        source: ``shapes``, a folder, or a hub id such as ``openai/clip-vit-base-patch32``.
        holds: what must be in it: names or patterns, alternatives joined by ``or``.
        kind: what such a folder is called. setting: the setting that names the source. example: a hub id to fetch. All for messages.
        builtin: where ``shapes`` is among the package's weights; empty where there is none.

    Raises:
        MissingWeights: in one line, what to fetch and where to put it.
    """
    name = str(source)
    own = bool(builtin) and name == "shapes"
    path = Path(name).expanduser()
    on_hub = not own and not path.is_dir() and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) is not None
    places = [BUILTIN / builtin] if own else _hub_places(name) if on_hub else [path]
    places = [place for place in places if place.is_dir()]
    whole = [place for place in places if not _lacks(place, holds)]
    if whole:
        return whole[0]
    if own:
        raise MissingWeights(f"the built-in weights are not at {BUILTIN / builtin}; `make pretrain` trains them (hours)")
    if places:
        found = f"{places[0]} is not a {kind}: it lacks {', '.join(_lacks(places[0], holds))} (expected: {', '.join(holds)})"
        raise MissingWeights(f"{found}; `hf download {name if on_hub else example} --local-dir {places[0]}` fetches a whole one")
    if on_hub:
        fetch = f"run `hf download {name} --local-dir weights/{path.name}` and set {setting} to that folder"
        raise MissingWeights(f"the weights of '{name}' are not on this machine: {fetch}")
    wanted = f"give a {kind} with {', '.join(holds)}{', a hub id' if not builtin else ', a hub id or shapes'}"
    raise MissingWeights(f"no folder '{path}'; {wanted}, such as `hf download {example} --local-dir {path}` fetches")


def find_file(names: Sequence[str], what: str, fetch: str, given: str | Path | None = None, places: Sequence[Path] | None = None) -> Path:
    """The local file of a model that is one file.

    Args:
        names: what the file may be called, the best first. what: whose weights. fetch: the command that gets it, with ``{file}`` and
            ``{folder}`` for where it is to be. given: the file, or its folder. places: where to look where none is given, by default
            ``~/.cache/motion_ablation``.

    Raises:
        MissingWeights: in one line, what to fetch and where to put it.
    """
    given = Path(given).expanduser() if given else None
    if given and (given.is_file() or given.suffix in (".pt", ".pth")):
        wanted = [given]
    else:
        wanted = [place / name for place in ([given] if given else places or [HOME]) for name in names]
    found = [file for file in wanted if file.is_file()]
    if not found:
        raise MissingWeights(f"{what} are not at {wanted[0]}: {fetch.format(file=wanted[0], folder=wanted[0].parent)}")
    return found[0]


def fingerprint(place: Path, parts: Sequence[str] = ("",)) -> str:
    """Hash of a file, or of ``parts`` of a folder: names and sizes of the files, all small files, and both ends of the large ones."""
    digest = hashlib.sha256()
    files = [place] if place.is_file() else [path for part in parts for path in (place / part).rglob("*") if path.is_file()]
    for path in sorted(files):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(place)} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(END))
            if size > END:
                file.seek(-END, 2)
                digest.update(file.read())
    return digest.hexdigest()[:16]


def _lacks(folder: Path, holds: Sequence[str]) -> list[str]:
    return [each for each in holds if not any(any(folder.glob(pattern)) for pattern in each.split(" or "))]


def _hub_places(name: str) -> list[Path]:
    """Where a hub id may be on this machine."""
    from huggingface_hub import snapshot_download

    try:
        cached = [Path(snapshot_download(name, local_files_only=True))]
    except (OSError, ValueError):  # not in the cache, or no valid id
        cached = []
    return [*cached, HOME / name.replace("/", "--")]
