"""DAVIS (Perazzi et al. 2016, Pont-Tuset et al. 2017): folders of frames with masks, without captions."""

from __future__ import annotations

from pathlib import Path

from motion_ablation.data.sets.base import SETS, Row, frame_folders

SIZES = ("480p", "Full-Resolution", "1080p")


def frames_of(folder: Path) -> Path:
    """Where the folders of frames are: ``JPEGImages/480p`` and the like, or the folder itself."""
    return next((path for size in SIZES if (path := folder / "JPEGImages" / size).is_dir()), folder)


def mask_of(frames: Path) -> Path | None:
    """The folder of masks of a folder of frames, where there is one."""
    mask = frames.parent.parent.parent / "Annotations" / frames.parent.name / frames.name
    return mask if frames.parent.parent.name == "JPEGImages" and mask.is_dir() else None


@SETS.register("davis")
def davis(folder: Path) -> list[Row]:
    """Every sequence of a DAVIS folder, or of any folder of folders of frames; write the captions into NAME.txt beside NAME."""
    return [{"path": frames, "mask": mask_of(frames)} for frames in frame_folders(frames_of(folder))]
