import logging
import subprocess
import sys

import pytest

from tegu.core.notes import note, notes_also_to


def test_a_note_is_an_info_record_of_tegu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tegu"):
        note("column 3 of x: 7 categories")
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("tegu", "INFO", "column 3 of x: 7 categories")
    ]


def _stderr_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


def test_shown_notes_go_to_stderr_once() -> None:
    code = "from tegu.core.notes import note, show_notes; show_notes(); show_notes(); note('hello 100%')"
    assert _stderr_of(code) == "hello 100%\n"


@pytest.mark.parametrize(
    "configured",
    [
        "logging.basicConfig(level='WARNING')",
        "logging.getLogger('tegu').setLevel('WARNING')",
        "logging.getLogger('tegu').addHandler(logging.NullHandler())",
    ],
)
def test_a_program_that_configured_logging_keeps_it(configured: str) -> None:
    code = f"import logging; from tegu.core.notes import note, show_notes; {configured}; show_notes(); note('hello')"
    assert _stderr_of(code) == ""


def test_the_device_shows_no_notes() -> None:
    assert _stderr_of("import tegu.client; from tegu.core.notes import note; note('hello')") == ""


def test_notes_of_a_block_are_given_on_and_others_are_not() -> None:
    received = list[str]()
    logging.getLogger("tegu").setLevel(logging.WARNING)
    try:
        with notes_also_to(received.append):
            note("within 100%")
            logging.getLogger("tegu").warning("no note")
            logging.getLogger("tegu.server").info("of a module")
        note("after")
        assert logging.getLogger("tegu").level == logging.WARNING
    finally:
        logging.getLogger("tegu").setLevel(logging.NOTSET)
    assert received == ["within 100%"]
