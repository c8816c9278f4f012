"""Noise of the device's own: how much there is, that it is asked once, and what a device demands."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from tests.core.samples import refused
from tests.federation.tiny import bundle, population

from tegu.client.federation.client_app import app
from tegu.client.federation.local_noise import local_spending, with_local_noise
from tegu.core.bundle.file import write_bundle
from tegu.core.data.tree import Tree, norm, subtract
from tegu.core.data.users import write_users
from tegu.core.errors import FederationError
from tegu.core.privacy.gaussian import gaussian_epsilon
from tegu.core.sampling.episode import EpisodeRule
from tegu.sim.federation.grid import flower_identity
from tegu.wire import Reply, RoundConfig, read_training_reply, to_record, training_request_content

CONFIG = RoundConfig(3, 7, 0.4, EpisodeRule(2, 6, 4), private=True, local_noise=0.5)
TOTAL = {"w": np.zeros((100, 100), np.float32)}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    folder: Path = tmp_path_factory.mktemp("local-noise")
    write_bundle(folder / "start.tegu", bundle())
    people = population(8)
    write_users(folder / "rows.npz", [people.local(user) for user in range(len(people))])
    config = {"data": f"{folder}/rows.npz", "bundle": f"{folder}/start.tegu"}
    return Context(1, 1, config, RecordDict(), {})


def ask(context: Context, config: RoundConfig = CONFIG, **node: Any) -> Message:
    content = training_request_content(to_record(bundle().meta), config)
    with flower_identity():
        return app(Message(content, dst_node_id=1, message_type="train"), replace_node(context, node))


def replace_node(context: Context, node: dict[str, Any]) -> Context:
    return Context(1, 1, {**context.node_config, **node}, context.state, {})


def reply(message: Message) -> Reply:
    return read_training_reply(message, bundle().meta)


def entries(tree: Tree) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for array in tree.values()])


def test_a_reply_has_the_noise_that_the_round_asks_for(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    clean = reply(ask(context, replace(CONFIG, local_noise=0.0)))
    with caplog.at_level(logging.INFO, "tegu.client.federation.answers"):
        noised = reply(ask(context))
    assert (clean.users, clean.within is None, noised.users, noised.within) == (noised.users, False, clean.users, None)
    noise = entries(subtract(noised.update, clean.update))
    assert noise.std() == pytest.approx(0.5 * 0.4, rel=0.4)
    assert abs(noise.mean()) < 0.1
    assert "epsilon" in caplog.text
    packed = ask(context, replace(CONFIG, update_precision="int8"))
    assert norm(subtract(reply(packed).update, clean.update)) > 0.5 * norm({"noise": noise})


def test_the_same_question_gets_the_same_answer_and_counts_once(context: Context) -> None:
    first, again, other = (reply(ask(context, config)).update for config in (CONFIG, CONFIG, replace(CONFIG, round=4)))
    assert (entries(first) == entries(again)).all()
    assert (entries(first) != entries(other)).all()
    state: dict[str, Any] = {}
    for question in (b"a", b"a", b"b"):
        noised, state = with_local_noise(TOTAL, 1.0, 2.0, question, state)
        assert noised["w"].std() == pytest.approx(2.0, rel=0.05)
    assert state["answers"] == 2
    assert f"epsilon {gaussian_epsilon(2 / 4, 1e-5):.3g}" in local_spending(state)


@pytest.mark.parametrize(("local", "demanded"), [(0.0, 0.1), (0.5, 0.6)])
def test_a_device_demands_noise_of_its_own(context: Context, local: float, demanded: float) -> None:
    message = ask(context, replace(CONFIG, local_noise=local), **{"least-noise": demanded})
    assert message.error.reason == "FederationError: little-noise"
    assert not ask(context, replace(CONFIG, local_noise=demanded), **{"least-noise": demanded}).has_error()


@pytest.mark.parametrize("clip", [float("inf"), float("nan")])
def test_noise_without_a_clip_is_refused(context: Context, clip: float) -> None:
    with refused(FederationError, "local noise 2.0 with a clip of", "hides no update"):
        with_local_noise(TOTAL, clip, 2.0, b"", {})
    assert ask(context, replace(CONFIG, clip=clip)).has_error()
