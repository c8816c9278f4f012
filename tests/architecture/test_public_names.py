"""The names that packages export: an addition or a removal is a decision, and this list is where it shows."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

ERRORS = """
    BundleError CompileError DataError FederationError FileError MissingExtraError OtherModelError PlatformError
    PopulationError RuntimeFailure SignatureError StoreError TeguError UnknownNameError
"""
EXPORTED = {
    "tegu.core": f"""
        {ERRORS}
        METRICS Bundle Encoding EpisodeRule LocalUser Manifest Metric ScheduleEntry Spec booleans find_metric ids
        new_key_pair reals read_bundle read_users write_bundle write_users
    """,
    "tegu.client": """
        AdaptReport Interactions Minimums Observed OnnxRuntime Participant ParticipantState Personalizer Policy Removed
        Repaired Runtime Store TorchRuntime repair_store
    """,
    "tegu.learners": """
        LEARNERS CalibrationOptions Execution Iterated Learner SummedUpdate bayesian_maml combination fedavg fedsgd
        find_learner fomaml implicit_als item_ratings local_only lstm_meta_learner maml matching_networks
        meta_sgd mixture optimiser_names platipus prototypical_networks r2d2 relation_networks reptile
        residual_correction running_statistics snail t_net with_running_statistics
    """,
    "tegu.compile": "CohortGraphs compile_cohort compile_cohort_updates compile_learner make_bundle manifest_of",
    "tegu.server": """
        APP_DIR CalibrationPlan CohortPlan EarlyStopping FlowerRun LocalFlower MetaStrategy OuterRule PrivacyPlan
        Progress RoundProgress TrainingPlan UpdatePlan from_config local_federation local_simulation to_config train
    """,
    "tegu.sim": """
        EXPERIMENTS Experiment HOST_APP_DIR Population Run Split Tasks TrainingPlan few_shot_population find_experiment
        make_engine read_population reestimate_statistics run_experiment run_plan simulate write_hosts write_partitions
        write_population
    """,
}


@pytest.mark.parametrize("package", EXPORTED)
def test_a_package_exports_these_names(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(EXPORTED[package].split())


@pytest.mark.parametrize("package", EXPORTED)
def test_every_exported_name_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        assert name in dir(module)
        assert not isinstance(value, type(sys)), f"{package}.{name} is a module"
        if callable(value):
            assert (value.__doc__ or "").strip(), f"{package}.{name} has no docstring"


def test_the_lazy_packages_import_nothing_dear() -> None:
    packages = "sys, tegu.core, tegu.client, tegu.server, tegu.sim"
    program = f"import {packages}; print(*{{'numpy', 'torch', 'flwr'}} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert printed.split() == []
