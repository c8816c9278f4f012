"""The learners of `--learner`, each with its paper; listed here, so that help texts need no torch."""

from __future__ import annotations

__all__ = ["LEARNERS", "PAPERS"]

PAPERS = {
    "residual_correction": "Bertinetto 2019",
    "reptile": "Nichol 2018",
    "maml": "Finn 2017",
    "fomaml": "Finn 2017",
    "meta_sgd": "Li 2017",
    "t_net": "Lee 2018",
    "lstm_meta_learner": "Ravi 2017",
    "platipus": "Finn 2018",
    "bayesian_maml": "Yoon 2018",
    "prototypical_networks": "Snell 2017",
    "matching_networks": "Vinyals 2016",
    "relation_networks": "Sung 2018",
    "r2d2": "Bertinetto 2019",
    "snail": "Mishra 2018",
}
"""The first author and the year of each learner's paper."""

LEARNERS = (
    "Learner to train; the experiment's own by default: "
    + ", ".join(f"{name} ({paper})" for name, paper in PAPERS.items())
    + ". Several with commas share a bundle, and calibration chooses."
)
