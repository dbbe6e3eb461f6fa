"""What the callbacks share: the answers, the settings, and the words that several pages say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dmarcview.dashboard import given, url
from dmarcview.dashboard.alerts import AlertFrames
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages import overview
from dmarcview.dashboard.papers import Papers
from dmarcview.dashboard.plain import plain
from dmarcview.dashboard.reconcile import ReconcileFrames


@dataclass(frozen=True)
class Desk:
    """What the callbacks share."""

    frames: Frames
    papers: Papers
    compared: ReconcileFrames
    alerts: AlertFrames
    prefix: str
    watched: tuple[str, ...] = ()
    address: str = ""

    def window(self, view: url.View) -> str:
        """The days of a view, for people."""
        since, until = self.frames.window(view)
        words = f"{since.day} {since:%b %Y} – {until.day} {until:%b %Y}, UTC"
        if many := self.frames.open_days(view):
            words += f" · {many} day{' is' if many == 1 else 's are'} not complete"
        return words

    def nothing(self, view: url.View, path: str) -> Any:
        """What an empty page says: that nothing ever came, or that the filters leave nothing."""
        if not self.frames.any_report():
            return overview.no_data(self.watched, self.address)
        return overview.nothing_here(view, url.href(self.prefix, path, url.View()))


def twin(clicks: Any, draw: Callable[[Any], Any], frame: Any) -> tuple[Any, str]:
    """(table, words of its button) of a chart: shown after an odd number of clicks."""
    return (plain(draw(frame)), "Hide the table") if given.clicks(clicks) % 2 else (None, "Show as table")
