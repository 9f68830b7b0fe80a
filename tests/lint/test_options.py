"""Every option that a program reads is in its manual page, and the page has no other."""

import re

import pytest

from tree import sources, text

READ = re.compile(r'\bCFG_(?:STR|INT|BOOL|FLOAT|STR_LIST|INT_LIST|SEC)\("(\w+)"')


def options_read(folder):
    """Of the program whose sources are there; the relay is one of its own below provisiond/."""
    return {name for path in sources(".c", ".h") for name in READ.findall(text(path))
            if str(path).startswith(f"{folder}/") and not str(path.relative_to(folder)).startswith("relay/")}


def tags(page):
    """The lines that head a paragraph."""
    lines = text(page).splitlines()
    return [lines[i + 1] for i, line in enumerate(lines[:-1]) if line.startswith(".TP")]


def options_of_section_8(page):
    """In CONFIGURATION: .BI "name = " value, and sections by their name."""
    part = re.sub(r"(?s)^.*\n\.SH CONFIGURATION\n", "", text(page))
    part = re.split(r"\n\.SH ", part)[0]
    found = set()
    for tag in re.findall(r"\n\.TP\n(\..*)", part):
        found |= set(re.findall(r"\b([a-z_0-9]+) = ", tag)) | set(re.findall(r'"([a-z_]+) (?:\{|\\\(dq)', tag))
    # one that is explained in the paragraph of its section, often with its default behind it
    return (found | set(re.findall(r"\n\.B ([a-z_0-9]+_[a-z_0-9]+)(?= *\n)", part))
            | set(re.findall(r"\n\.B ([a-z_0-9]+)\n\([^)]*\): ", part)))


def options_of_section_5(page):
    """.BR name " (type, default)", and sections as \\fBname "\\fITITLE..."""
    found = set()
    for tag in tags(page):
        section = re.match(r'\\fB(\w+) "', tag)
        words = re.sub(r'"[^"]*"', " ", tag).split()
        found |= {section.group(1)} if section else set(words[1:])
    return found


PAGES = [("dnsd", "dnsd/lanyard-dnsd.8", options_of_section_8),
         ("provisiond/relay", "provisiond/relay/lanyard-relay.8", options_of_section_8),
         ("agent", "agent/lanyard-agent.8", options_of_section_8),
         ("provisiond", "provisiond/lanyard-provisiond.conf.5", options_of_section_5)]


@pytest.mark.parametrize("folder, page, read_page", PAGES, ids=[p[0] for p in PAGES])
def test_options_and_manual_agree(folder, page, read_page):
    read, said = options_read(folder), read_page(page)
    assert len(read) > 15
    assert sorted(read - said) == [], f"not in {page}"
    assert sorted(said - read) == [], f"in {page} only"


def test_every_option_of_the_agent_is_in_uci():
    """deploy/openwrt writes the agent's configuration from UCI: an option that it does not know is lost."""
    script = text("deploy/openwrt/lanyard-agent/files/lanyard-uci")
    lost = [name for name in options_read("agent") if not re.search(rf"\b{name}\b", script)]
    assert sorted(lost) == [], "add them to put_main or a section of lanyard-uci: put_text, put_number, put_switch, put_list"


def test_every_option_of_provisiond_has_a_default():
    for tag in tags("provisiond/lanyard-provisiond.conf.5"):
        if not tag.startswith("\\fB"):
            assert re.search(r"default|required|goes with", tag), tag
