"""Every way in which a round can fail on a device: the server learns a class and a code, and nothing of the device."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_to_proto
from tests.federation.tiny import SPEC, bundle, learner

from tegu.client.federation import people
from tegu.client.federation.client_app import app
from tegu.core import errors
from tegu.core.bundle.file import write_bundle
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest
from tegu.core.data.users import LocalUser, write_users
from tegu.core.errors import TeguError
from tegu.core.sampling.episode import EpisodeRule
from tegu.sim.federation.grid import flower_identity
from tegu.wire import (
    FAILURES,
    RoundConfig,
    describe_failure,
    evaluation_request_content,
    failure_reason,
    to_record,
    training_request_content,
)

SECRETS = ("secret", "987654321", "Alice", "Traceback", ".npz", ".tegu", "/tmp", "line ")
CODE = re.compile(r"[A-Za-z]+: (?:" + "|".join(FAILURES) + ")")
CONFIG = RoundConfig(round=2, seed=7, clip=0.4, episodes=EpisodeRule(2, 6, 4))
KNOBS = learner().knobs


def users(rows: int = 9, label: int = 1) -> list[LocalUser]:
    rng = np.random.default_rng(0)
    return [
        LocalUser(f"Alice-{number}", rng.normal(size=(rows, 4)).astype(np.float32), np.full(rows, label))
        for number in range(6)
    ]


def train_content(config: RoundConfig = CONFIG, meta: Mapping[str, np.ndarray] | None = None) -> RecordDict:
    return training_request_content(to_record(bundle().meta if meta is None else meta), config)


def evaluate_content(**changes: Any) -> RecordDict:
    question = CandidateSet(2, [KNOBS], "scores")._replace(**changes.pop("question", {}))
    request = EvaluationRequest("accuracy", 7, 0.4, [question])._replace(**changes)
    return evaluation_request_content(to_record(bundle().meta), request)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("secret-folder")
    write_bundle(made / "secret.tegu", bundle())
    (made / "damaged.tegu").write_bytes(b"secret 987654321")
    write_users(made / "secret.npz", users())
    write_users(made / "few.npz", users(rows=2))
    np.savez(made / "wrong.npz", x=np.full((3, 4), 987654321.0), y=np.full(3, 987654321), user=["Alice"] * 3)
    (made / "damaged.npz").write_bytes(b"secret 987654321")
    return made


def reply_to(folder: Path, kind: str, content: RecordDict, **node: Any) -> Message:
    config = {"data": f"{folder}/secret.npz", "bundle": f"{folder}/secret.tegu", **node}
    context = Context(1, 1, config, RecordDict(), {})
    with flower_identity():
        return app(Message(content, dst_node_id=1, message_type=kind), context)


def broken(content: RecordDict, record: str, **fields: Any) -> RecordDict:
    for name, value in fields.items():
        content.config_records[record][name.replace("_", "-")] = value
    return content


Case = tuple[str, Callable[[], RecordDict], dict[str, Any], str]
MANY = {"least-people": 7}
CASES: dict[str, Case] = {
    "no rows": ("train", train_content, {"data": "{}/secret-none.npz"}, "DataError: data"),
    "damaged rows": ("train", train_content, {"data": "{}/damaged.npz"}, "DataError: data"),
    "an id out of range": ("train", train_content, {"data": "{}/wrong.npz"}, "DataError: data"),
    "rows to evaluate": ("evaluate", evaluate_content, {"data": "{}/wrong.npz"}, "DataError: data"),
    "no bundle": ("train", train_content, {"bundle": "{}/secret-none.tegu"}, "BundleError: bundle"),
    "damaged bundle": ("evaluate", evaluate_content, {"bundle": "{}/damaged.tegu"}, "BundleError: bundle"),
    "a setting": ("train", train_content, {"bundle": ""}, "FederationError: request"),
    "few rows": ("train", train_content, {"data": "{}/few.npz"}, "PopulationError: no-rows"),
    "no request": ("train", RecordDict, {}, "FederationError: request"),
    "no question": ("evaluate", RecordDict, {}, "FederationError: request"),
    "other model": (
        "train",
        lambda: train_content(meta={"w": np.zeros(3, np.float32)}),
        {},
        "FederationError: request",
    ),
    "bad episodes": (
        "train",
        lambda: broken(train_content(), "config", max_query=0),
        {},
        "FederationError: request",
    ),
    "bad text": ("train", lambda: broken(train_content(), "config", round="secret"), {}, "FederationError: request"),
    "metric": ("evaluate", lambda: evaluate_content(metric="secret"), {}, "UnknownNameError: name"),
    "people": ("train", train_content, MANY, "FederationError: few-people"),
    "rows": ("train", train_content, {"least-rows": 987654321}, "FederationError: few-rows"),
    "clip": ("train", train_content, {"largest-clip": 0.1}, "FederationError: large-clip"),
    "noise": ("train", train_content, {"least-noise": 0.5}, "FederationError: little-noise"),
    "wrong minimum": ("train", train_content, {"least-rows": "secret"}, "DataError: data"),
    "share": (
        "train",
        lambda: train_content(replace(CONFIG, calibration_share=0.9)),
        {},
        "FederationError: large-share",
    ),
    "no training": ("train", train_content, {"trains": False}, "FederationError: no-training"),
    "no evaluation": ("evaluate", evaluate_content, {"evaluates": False}, "FederationError: no-evaluation"),
    "candidates": ("evaluate", evaluate_content, {"most-candidates": 0}, "FederationError: many-candidates"),
    "draws": (
        "evaluate",
        lambda: evaluate_content(question={"draws": 10**9}),
        {},
        "FederationError: many-candidates",
    ),
    "steps": (
        "evaluate",
        lambda: evaluate_content(question={"options": [{**KNOBS, "steps": 1e18}]}),
        {},
        "FederationError: other-candidates",
    ),
    "knobs": (
        "evaluate",
        lambda: evaluate_content(question={"options": [{"secret": 1.0}]}),
        {},
        "FederationError: other-candidates",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_failure_is_a_class_and_a_code(case: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind, content, node, expected = CASES[case]
    own = {name: value.format(folder) if isinstance(value, str) else value for name, value in node.items()}
    reply = reply_to(folder, kind, content(), **own)
    assert reply.has_error()
    assert reply.error.reason == expected
    assert CODE.fullmatch(expected)
    sent = str(message_to_proto(reply))
    assert not [secret for secret in SECRETS if secret in sent]
    assert "Traceback" in caplog.text, "the device's own log has all of it"


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("secret 987654321"),
        MemoryError("secret 987654321"),
        type("Secret987654321", (Exception,), {})("Alice"),
        type("Secret987654321", (TeguError,), {"code": "secret"})("Alice"),
        RecursionError("secret"),
        OSError(2, "secret", "/tmp/secret"),
        *(getattr(errors, name)("secret 987654321") for name in errors.__all__ if name.endswith("Error") and name not in
          ("UnknownNameError", "MissingExtraError")),
    ],
)  # fmt: skip
def test_whatever_is_raised_while_computing_stays_on_the_device(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(people, "sum_of_updates", failing)
    monkeypatch.setattr(people, "evaluate_users", failing)
    for kind, content in (("train", train_content()), ("evaluate", evaluate_content())):
        reply = reply_to(folder, kind, content)
        assert CODE.fullmatch(str(reply.error.reason))
        assert not [secret for secret in (*SECRETS, "Secret") if secret in str(message_to_proto(reply))]


def test_a_reply_without_failure_is_answered(folder: Path) -> None:
    """Shows that the cases above fail by what they change."""
    assert not reply_to(folder, "train", train_content()).has_error()
    assert not reply_to(folder, "evaluate", evaluate_content()).has_error()
    assert bundle().manifest.spec == SPEC


def test_the_server_says_what_a_code_means() -> None:
    assert "raise users-per-node" in describe_failure(failure_reason(client_app_error("few-people")))
    assert describe_failure("it \x1b[31mfailed\n" + "x" * 999).startswith("it \\x1b[31mfailed\\n")
    assert len(describe_failure("x" * 999)) < 300
    assert json.dumps(describe_failure(None)) == '"None"'


def client_app_error(code: str) -> Exception:
    from tegu.client.federation.minimums import BelowMinimumError  # beside its use

    return BelowMinimumError(code, "Alice has 3 rows")
