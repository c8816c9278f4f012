"""A round for other graphs than the device's: it fetches the right bundle, checks it, or sits out."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from tests.client.participant.fakes import CONFIG, Device, own_version, train_message
from tests.federation.tiny import SPEC, bundle, population
from torch import nn

from tegu.client.federation.client_app import app
from tegu.client.federation.versions import BundlePlace, OtherVersionError, fetch_bundle
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.bundle.signing import new_key_pair
from tegu.core.bundle.version import version_of
from tegu.core.data.users import LocalUser, write_users
from tegu.core.encoding.encoding import Encoding
from tegu.learners import reptile
from tegu.server.versioned import publish_bundle
from tegu.sim.federation.grid import flower_identity
from tegu.wire import Version, add_version, to_record, training_request_content

OTHER = "FederationError: other-version"


@cache
def newer() -> Bundle:
    """The same parameters in another model, which has another activation: a layout check sees no difference."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    other = reptile(model, SPEC, steps=3, lr=0.3, init="fresh")
    return make_bundle(other, bundle().meta)


def published(folder: Path, found: Bundle, key: bytes | None = None) -> Version:
    write_bundle(folder / "newer.tegu", found, key)
    return publish_bundle(folder / "newer.tegu", found, folder / "bundles")


def replies(device: Device, version: Version) -> list[Any]:
    device.fleet.waiting.append(train_message(version))
    device.step()
    return device.fleet.replies


def test_versions_tell_what_may_train_together(tmp_path: Path) -> None:
    assert newer().meta.keys() == bundle().meta.keys()
    assert version_of(newer()) != own_version()
    trained = replace(bundle(), meta={name: array + 1 for name, array in bundle().meta.items()})
    assert version_of(trained) == own_version(), "rounds send the parameters"
    write_bundle(tmp_path / "own.tegu", bundle(), precision="float16")
    assert version_of(read_bundle(tmp_path / "own.tegu")) == own_version()
    manifest = bundle().manifest
    for change in (
        {"knobs": {**manifest.knobs, "lr": 0.5}},
        {"encoding": Encoding(labels=("a", "b", "c"))},
        {"candidates": (manifest.knobs,)},
    ):
        assert version_of(replace(bundle(), manifest=replace(manifest, **change))) != own_version()  # type: ignore[arg-type]


def test_a_device_with_other_graphs_does_not_train_in_silence(tmp_path: Path) -> None:
    device = Device(tmp_path)
    assert replies(device, published(tmp_path, newer())) == [OTHER]
    assert (device.state.last_refusal, device.state.rounds) == (OTHER, 0)
    assert replies(device, Version(own_version(), "0" * 64))[1].metric_records["metrics"]["users"] == 1


def test_a_device_fetches_the_bundle_of_the_round(tmp_path: Path) -> None:
    version = published(tmp_path, newer())
    place = BundlePlace(str(tmp_path / "bundles"), tmp_path / "kept")
    device = Device(tmp_path, place=place)
    (found,) = replies(device, version)
    assert found["update"] == expected(tmp_path)["update"]
    assert device.state.newer_bundle == tmp_path / "kept" / f"{version.file}.tegu"
    (tmp_path / "bundles" / f"{version.file}.tegu").unlink()
    assert not isinstance(replies(device, version)[1], str), "it is kept in memory"
    device.personalizer.close()
    again = Device(tmp_path, place=place)
    assert not isinstance(replies(again, version)[0], str), "and on the disk"
    assert again.state.newer_bundle is not None
    again.personalizer.upgrade(again.state.newer_bundle)
    replies(again, version)
    assert again.state.newer_bundle is None, "the app has it now"
    assert version_of(again.personalizer.bundle) == version.digest


def expected(folder: Path) -> Any:
    """What a device replies that has the newer bundle from the beginning."""
    from tests.client.participant import fakes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes, "bundle", newer)
        device = Device(folder, path="newer.db")
    (found,) = replies(device, Version(version_of(newer()), "0" * 64))
    return found


def test_only_the_right_file_counts(tmp_path: Path) -> None:
    private, public = new_key_pair()
    _, other = new_key_pair()
    version = published(tmp_path, newer(), private)
    path = tmp_path / "bundles" / f"{version.file}.tegu"
    signed = BundlePlace(str(path.parent), None, public)
    assert version_of(fetch_bundle(version, signed)) == version.digest
    refused = {
        "no place": (version, None),
        "another key": (version, replace(signed, public_key=other)),
        "too large": (version, replace(signed, most=1000)),
        "no file": (version._replace(file="0" * 64), signed),
        "another version": (version._replace(digest="0" * 64), signed),
        "no folder": (version, replace(signed, source=str(tmp_path / "nowhere"))),
        "no TLS": (version, replace(signed, source="http://127.0.0.1:9/bundles")),
        "nobody there": (version, replace(signed, source="https://127.0.0.1:9/bundles")),
    }
    for case, (wanted, place) in refused.items():
        with pytest.raises(OtherVersionError) as error:
            fetch_bundle(wanted, place)
        assert error.value.wanted == wanted, case
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(OtherVersionError, match="another sha256"):
        fetch_bundle(version, signed)


def test_an_unsigned_bundle_is_refused_where_a_key_is_given(tmp_path: Path) -> None:
    version = published(tmp_path, newer())
    _, public = new_key_pair()
    device = Device(tmp_path, place=BundlePlace(str(tmp_path / "bundles"), None, public))
    assert replies(device, version) == [OTHER]


def test_a_kept_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    version = published(tmp_path, newer())
    place = BundlePlace(str(tmp_path / "bundles"), tmp_path / "kept")
    fetch_bundle(version, place)
    kept = tmp_path / "kept" / f"{version.file}.tegu"
    kept.write_bytes(b"changed")
    assert version_of(fetch_bundle(version, place)) == version.digest
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == version.file


def test_a_bundle_that_cannot_read_the_stored_rows_is_not_used(tmp_path: Path) -> None:
    wide = reptile(nn.Linear(5, 3), type(SPEC).classification((5,), 3))
    version = published(tmp_path, make_bundle(wide, wide.init(0)))
    device = Device(tmp_path, place=BundlePlace(str(tmp_path / "bundles"), tmp_path / "kept"))
    assert replies(device, version) == [OTHER]


@pytest.mark.parametrize("file", ["../../etc/passwd", "x" * 64, ""])
def test_a_server_cannot_choose_a_path(tmp_path: Path, file: str) -> None:
    device = Device(tmp_path, place=BundlePlace(str(tmp_path / "bundles")))
    assert replies(device, Version("0" * 64, file)) == ["FederationError: request"]


def test_a_supernode_does_the_same(tmp_path: Path) -> None:
    version = published(tmp_path, newer())
    write_bundle(tmp_path / "old.tegu", bundle())
    people = population(9)
    write_users(tmp_path / "rows.npz", [LocalUser(str(people.users[2]), *people.rows(2))])

    def asked(**node: str) -> Message:
        config: Any = {"data": f"{tmp_path}/rows.npz", "bundle": f"{tmp_path}/old.tegu", "least-rows": 0, **node}
        content = training_request_content(to_record(bundle().meta), CONFIG)
        add_version(content, version)
        with flower_identity():
            request = Message(content, dst_node_id=1, message_type="train")
            return app(request, Context(1, 1, config, RecordDict(), {}))

    assert asked().error.reason == OTHER
    place = {"bundle-source": str(tmp_path / "bundles"), "bundle-cache": str(tmp_path / "kept")}
    fetched = asked(**place)
    right = asked(bundle=str(tmp_path / "newer.tegu"))
    assert fetched.content == right.content
    assert asked(**place, **{"public-key": "00" * 32}).error.reason == OTHER
    assert asked(**place, **{"public-key": "no key"}).error.reason == "FederationError: request"
