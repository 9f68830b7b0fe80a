"""pressbutton.py TEXT NAME...: as a screen reader would (AT-SPI), presses a button with a name that begins
with one of these, in an alert whose own name has TEXT. Ends with 0, or 1 when there is none."""

import sys

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402


def below(node):
    """All nodes under it but those of web pages. One that is gone meanwhile has none."""
    try:
        children = [node.get_child_at_index(i) for i in range(node.get_child_count())]
    except GLib.Error:
        return
    for child in children:
        if child is not None and child.get_role() != Atspi.Role.DOCUMENT_WEB:
            yield child
            yield from below(child)


def find(text, names):
    for alert in below(Atspi.get_desktop(0)):
        if alert.get_role() == Atspi.Role.ALERT and text in alert.get_name():
            for node in below(alert):
                if node.get_role() == Atspi.Role.PUSH_BUTTON and node.get_name().startswith(names):
                    return node
    return None


def main(text, *names):
    Atspi.init()
    try:
        button = find(text, names)
        return 0 if button is not None and button.get_action_iface().do_action(0) else 1
    except GLib.Error:
        return 1  # it went away in between


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
