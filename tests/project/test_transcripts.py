"""The transcripts of the docs: every command runs to success and prints what the page shows."""

import pytest

from tests.support.transcripts import PAGE, commands, masked, run, sections

SECTIONS = {title: text for title, text in sections(PAGE.read_text(encoding="utf-8")).items() if commands(text)}


def test_there_is_one_transcript_per_role():
    assert len(SECTIONS) == 3
    assert all(len(commands(section)) >= 3 for section in SECTIONS.values())


@pytest.mark.slow
@pytest.mark.parametrize("title", SECTIONS)
def test_commands_print_what_the_page_shows(title, tmp_path):
    section = SECTIONS[title]
    for (command, printed), (_, shown) in zip(run(section, tmp_path), commands(section), strict=True):
        assert masked(printed) == masked(shown), command


def test_signs_of_life_of_a_slow_machine_do_not_count():
    assert masked("preview (5 s so far)\nx: 3/10 (2 min left)\nm.png: 5 bytes\n") == "m.png: N bytes"
