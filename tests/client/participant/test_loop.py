"""A participant's loop with a server that is not real: when it takes part, and what it says when it does not."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from tests.client.participant.fakes import CONFIG, QUICK, USER, Device, train_message
from tests.federation.tiny import bundle, population

from tegu.client.federation.client_app import app
from tegu.client.federation.minimums import Minimums
from tegu.client.participant import Policy
from tegu.client.participant.policy import back_off
from tegu.core.bundle.file import write_bundle
from tegu.core.data.tree import max_difference
from tegu.core.data.users import LocalUser, write_users
from tegu.core.errors import DataError
from tegu.sim.federation.grid import flower_identity
from tegu.wire import to_record, to_tree, training_request_content


def client_app_update(folder: Path) -> Mapping[str, np.ndarray]:
    """What Flower's ClientApp replies from a file with the same rows."""
    people = population(9)
    write_bundle(folder / "init.tegu", bundle())
    write_users(folder / "rows.npz", [LocalUser(str(people.users[USER]), *people.rows(USER))])
    node: Any = {"data": f"{folder}/rows.npz", "bundle": f"{folder}/init.tegu", "least-rows": 0}
    with flower_identity():
        content = training_request_content(to_record(bundle().meta), CONFIG)
        reply = app(Message(content, dst_node_id=1, message_type="train"), Context(1, 1, node, RecordDict(), {}))
    return to_tree(reply.content.array_records["update"])


def test_a_message_is_answered_as_by_the_client_app(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.fleet.waiting.append(train_message())
    device.step()
    (reply,) = device.fleet.replies
    assert reply.metric_records["metrics"]["users"] == 1
    assert max_difference(to_tree(reply.array_records["update"]), client_app_update(tmp_path)) == 0
    assert (device.state.status, device.state.rounds, device.state.last_refusal) == ("connected", 1, "")
    assert device.state.bytes_today == device.fleet.connection.transferred


def test_what_rounding_takes_waits_for_the_next_round(tmp_path: Path) -> None:
    packed = replace(CONFIG, update_precision="int8")
    device, fresh = Device(tmp_path), Device(tmp_path, path="fresh.db")
    device.fleet.waiting.extend([train_message(config=packed), train_message(config=packed)])
    fresh.fleet.waiting.append(train_message(config=packed))
    device.step(2)
    fresh.step()
    first, second = (to_tree(reply.array_records["packed"]) for reply in device.fleet.replies)
    assert max_difference(first, to_tree(fresh.fleet.replies[0].array_records["packed"])) == 0
    assert max_difference(first, second) > 0


def test_nothing_happens_before_the_user_agrees(tmp_path: Path) -> None:
    device = Device(tmp_path, agreed=False)
    device.fleet.waiting.append(train_message())
    device.step(3)
    assert device.fleet.calls == []
    assert (device.state.status, device.state.why) == ("sits out", "not-opted-in")
    assert not device.personalizer.opted_in


def test_who_withdraws_answers_with_a_refusal_and_leaves(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.step()
    device.personalizer.opt_out()
    device.fleet.waiting.extend([train_message(), train_message()])
    device.step(3)
    assert device.fleet.replies == ["FederationError: opted-out"] * 2
    assert device.fleet.calls.count("deactivate") == 1
    assert device.state.why == "not-opted-in"
    device.personalizer.opt_in()
    device.step()
    assert device.state.status == "connected"


def test_who_withdraws_while_a_round_is_computed_sends_nothing_of_it(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.fleet.waiting.append(train_message())
    reads = iter([True, True, True, False])  # before the step, before the message, before and after computing

    class Once:
        def read(self) -> Any:
            if not next(reads, False):
                device.personalizer.opt_out()
            return device.personalizer.store.consent.read()

    device.loop._consent = Once()  # type: ignore[assignment]
    next(reads)
    device.step()
    assert device.fleet.replies == ["FederationError: opted-out"]


def test_forgetting_withdraws(tmp_path: Path) -> None:
    device = Device(tmp_path)
    first = device.personalizer.store.consent.read()
    device.personalizer.forget()
    assert not device.personalizer.opted_in
    device.personalizer.opt_in()
    second = device.personalizer.store.consent.read()
    assert first is not None
    assert second is not None
    assert first.user != second.user
    assert first.user.encode() not in (tmp_path / "user.db").read_bytes()


def test_an_agreement_outlives_the_process(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.personalizer.close()
    assert Device(tmp_path, agreed=False).personalizer.opted_in


@pytest.mark.parametrize("answer", [False, None, ZeroDivisionError])
def test_the_policy_decides(tmp_path: Path, answer: Any) -> None:
    allowed = True

    def only_when() -> bool:
        if allowed:
            return True
        if answer is ZeroDivisionError:
            raise ZeroDivisionError
        return answer  # type: ignore[no-any-return]

    device = Device(tmp_path, replace(QUICK, only_when=only_when))
    device.step()
    allowed = False
    device.fleet.waiting.append(train_message())
    device.step()
    assert device.fleet.replies == ["FederationError: not-now"]
    assert (device.state.why, device.fleet.node) == ("policy", None)
    allowed = True
    device.step()
    assert device.state.status == "connected"


def test_rounds_are_an_interval_apart(tmp_path: Path) -> None:
    device = Device(tmp_path, replace(QUICK, least_seconds=100.0, idle_seconds=1000.0))
    device.fleet.waiting.extend([train_message()])
    device.step()
    assert device.state.rounds == 1
    assert 0 < device.step() <= 100
    assert (device.state.why, device.fleet.node) == ("interval", None)


def test_a_day_has_so_many_bytes_also_after_a_restart(tmp_path: Path) -> None:
    policy = replace(QUICK, daily_bytes=50_000)
    device = Device(tmp_path, policy)
    device.step(100)
    assert (device.state.status, device.state.why) == ("sits out", "budget")
    used = device.fleet.connection.transferred
    assert 30_000 < used <= 50_000
    device.personalizer.close()
    again = Device(tmp_path, policy)
    again.step(3)
    assert again.fleet.calls == []
    assert again.state.bytes_today == used
    again.personalizer.opt_out()
    again.personalizer.opt_in()
    again.step()
    assert again.fleet.calls == [], "withdrawing and agreeing again gives no second budget"


def test_a_message_larger_than_the_day_is_refused(tmp_path: Path) -> None:
    device = Device(tmp_path, replace(QUICK, daily_bytes=50_000))
    device.fleet.size = 45_000
    device.fleet.waiting.append(train_message())
    device.step()
    assert device.fleet.replies == ["FederationError: not-now"]
    assert device.fleet.connection.transferred < 10_000


def test_a_device_with_few_rows_does_not_connect(tmp_path: Path) -> None:
    device = Device(tmp_path, minimums=Minimums(least_rows=99))
    device.step()
    assert (device.fleet.calls, device.state.why) == ([], "few-rows")


def test_demands_hold_as_in_the_client_app(tmp_path: Path) -> None:
    device = Device(tmp_path, minimums=Minimums(least_rows=0, largest_clip=0.1))
    device.fleet.waiting.append(train_message())
    device.step()
    assert device.fleet.replies == ["FederationError: large-clip"]
    assert device.state.last_refusal == "FederationError: large-clip"
    assert device.state.rounds == 0


def test_a_server_that_does_not_know_the_node_is_asked_to_let_it_in_again(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.step()
    device.fleet.unknown = True
    assert device.step() > 0
    assert (device.state.status, device.fleet.node) == ("refused", None)
    device.fleet.unknown = False
    device.step()
    assert device.state.status == "connected"
    assert device.fleet.calls.count("activate") == 2


def test_a_server_that_is_away_is_asked_less_and_less(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.step()
    device.fleet.away = True
    waits = [device.step() for _ in range(12)]
    assert device.state.status == "unreachable"
    assert [wait <= 2**number for number, wait in enumerate(waits)] == [True] * 12
    assert waits[-1] >= 150
    device.fleet.away = False
    assert device.step() == 3, "so that Flower reports what was handed out to this device, and lost with the answer"
    assert device.fleet.calls[-1] == "deactivate"
    device.step()
    assert device.state.status == "connected"
    assert device.fleet.calls[-2:] == ["activate", "pull"]


def test_whatever_fails_does_not_reach_the_app(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    device = Device(tmp_path)
    device.fleet.pull = lambda: 1 / 0  # type: ignore[method-assign]
    stopping, goodbye = threading.Event(), threading.Event()
    thread = threading.Thread(target=device.loop.run, args=(stopping, goodbye))
    thread.start()
    while device.state.status != "sits out":
        stopping.wait(0.01)
    assert "ZeroDivisionError" in device.state.why
    device.personalizer.close()  # an app may do that in the wrong order
    goodbye.set()
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()
    assert device.state.status == "stopped"


def test_a_back_off_grows_and_differs_between_devices() -> None:

    waits = [back_off(number, random.Random(1)) for number in range(1, 20)]
    assert all(0.5 * min(2.0**number, 300) <= wait <= min(2.0**number, 300) for number, wait in enumerate(waits))
    assert back_off(3, random.Random(1)) == waits[2] != back_off(3, random.Random(2))


@pytest.mark.parametrize(
    "wrong",
    [{"threads": 0}, {"daily_bytes": -1}, {"least_seconds": -1.0}, {"poll_seconds": 0.0},
     {"idle_seconds": float("inf")}, {"only_when": True}, {"poll_seconds": "1"}],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        Policy(**wrong)


def test_a_reply_is_sent_again_when_the_server_is_back(tmp_path: Path) -> None:
    """Flower hands a message out once: nobody else answers it, and its round would wait for this device."""
    device = Device(tmp_path)
    device.fleet.waiting.extend([train_message(), train_message()])
    device.fleet.pushes_lost = 2
    device.step(2)
    assert (device.fleet.replies, device.state.status) == ([], "unreachable")
    device.step()
    assert device.fleet.calls.count("fetch") == 1, "the reply is computed once"
    assert device.fleet.calls.count("pull") == 1, "the next message waits"
    assert (len(device.fleet.replies), device.state.rounds, device.state.status) == (1, 1, "connected")
    device.step()
    assert device.state.rounds == 2


def test_who_withdraws_while_the_server_is_away_refuses(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.fleet.waiting.append(train_message())
    device.fleet.pushes_lost = 1
    device.step()
    device.personalizer.opt_out()
    device.step()
    assert device.fleet.replies == ["FederationError: opted-out"]
    assert device.state.rounds == 0


def test_a_reply_that_never_arrives_is_dropped(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.fleet.waiting.extend([train_message(), train_message()])
    device.fleet.pushes_lost = 7
    device.step(8)
    assert device.fleet.calls.count("fetch") == 2
    assert len(device.fleet.replies) == 1
