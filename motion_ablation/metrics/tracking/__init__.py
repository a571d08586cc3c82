"""Point tracks, and what makes them; importing this package registers the trackers."""

from motion_ablation.metrics.tracking.cotracker3 import CoTracker3Tracker
from motion_ablation.metrics.tracking.opencv import OpenCVTracker
from motion_ablation.metrics.tracking.raft import RaftTracker
from motion_ablation.metrics.tracking.tracks import TRACKERS, Tracker, Tracks, track_videos

__all__ = ["TRACKERS", "CoTracker3Tracker", "OpenCVTracker", "RaftTracker", "Tracker", "Tracks", "track_videos"]
