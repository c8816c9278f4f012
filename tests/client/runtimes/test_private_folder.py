"""Another user who may write in the folder of a store makes, exchanges or fills the cache: no graph of his runs."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tegu.client.runtimes.graph_cache import open_with_cache
from tegu.client.runtimes.private_folder import opened_folder

GRAPH, HOSTILE = b"graph" * 10, b"HOSTILE"
NOBODY = 65534


def session(graph: bytes, *, optimised: bool = False, save_to: Path | None = None) -> bytes:
    """In place of ONNX Runtime: the session is what runs."""
    if save_to is not None:
        save_to.write_bytes(graph.upper())
    return graph if optimised else graph.upper()


def ran(file: Path) -> bytes:
    return bytes(open_with_cache(session, GRAPH, file, "1"))


def planted(file: Path) -> None:
    """What an attacker writes, who knows the runtime and the processor: its hash fits."""
    from tegu.client.runtimes.graph_cache import _processor

    origin = hashlib.sha256(f"1\n{_processor()}\n".encode() + GRAPH).digest()
    file.write_bytes(hashlib.sha256(origin + HOSTILE).digest() + HOSTILE)
    file.chmod(0o600)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "me.db.graphs").mkdir(mode=0o700)
    return tmp_path / "me.db.graphs" / "adapt"


def test_the_attack_would_work_in_a_folder_that_is_trusted(file: Path) -> None:
    planted(file)
    assert ran(file) == HOSTILE


def others(file: Path) -> None:
    os.chown(file.parent, NOBODY, NOBODY)


def linked(file: Path) -> None:
    file.parent.rename(file.parent.with_name("x"))
    file.parent.symlink_to(file.parent.with_name("x"))


ATTACKS: dict[str, Callable[[Path], None]] = {
    "open to all": lambda file: file.parent.chmod(0o777),
    "open to a group": lambda file: file.parent.chmod(0o770),
    "readable": lambda file: file.parent.chmod(0o755),
    "of another user": others,
    "a link": linked,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_folder_that_is_not_this_users_alone_is_not_used(file: Path, attack: str) -> None:
    if attack == "of another user" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    planted(file)
    ATTACKS[attack](file)
    before = sorted(path.name for path in file.parent.iterdir())
    assert [ran(file) for _ in range(3)] == [GRAPH.upper()] * 3
    assert sorted(path.name for path in file.parent.iterdir()) == before


def test_a_link_in_place_of_the_file_is_not_followed(file: Path, tmp_path: Path) -> None:
    planted(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    hostile = (tmp_path / "elsewhere").read_bytes()
    assert ran(file) == GRAPH.upper()
    assert not file.is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == hostile


def test_a_pipe_in_place_of_the_file_is_replaced_without_waiting(file: Path) -> None:
    os.mkfifo(file)
    assert [ran(file), ran(file)] == [GRAPH.upper()] * 2
    assert file.is_file()


def test_a_folder_that_is_exchanged_while_it_is_used_is_not_looked_into(file: Path, tmp_path: Path) -> None:
    """The attacker owns the folder above, and renames and links as fast as he can."""
    assert ran(file) == GRAPH.upper()
    (tmp_path / "his").mkdir(mode=0o755)
    planted(tmp_path / "his" / "adapt")
    stop = threading.Event()

    def exchange() -> None:
        steps: list[Callable[[], object]] = [
            lambda: file.parent.rename(tmp_path / "real"),
            lambda: file.parent.symlink_to(tmp_path / "his"),
            file.parent.unlink,
            lambda: (tmp_path / "his").rename(file.parent),
            lambda: file.parent.rename(tmp_path / "his"),
            lambda: (tmp_path / "real").rename(file.parent),
        ]
        while not stop.is_set():
            for step in steps:
                with suppress(OSError):  # the cache makes the folder where it is gone
                    step()

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        found = {ran(file) for _ in range(200)}
    finally:
        stop.set()
        attacker.join()
    assert found == {GRAPH.upper()}


def test_the_open_folder_stays_the_one_that_was_checked(file: Path, tmp_path: Path) -> None:
    with opened_folder(file.parent) as folder:
        file.parent.rename(tmp_path / "moved")
        (tmp_path / "his").mkdir()
        file.parent.symlink_to(tmp_path / "his")
        folder.write("adapt", b"mine")
        assert folder.read("adapt", 100) == b"mine"
    assert (tmp_path / "moved" / "adapt").read_bytes() == b"mine"
    assert not list((tmp_path / "his").iterdir())
