"""From ablation cards to the runs that they need."""

from motion_ablation.study.plan.cards import Card, CardError, read_card
from motion_ablation.study.plan.planning import Options, make_study
from motion_ablation.study.plan.run import Run
from motion_ablation.study.plan.study import Study

__all__ = ["Card", "CardError", "Options", "Run", "Study", "make_study", "read_card"]
