"""Wires the pages: which input redraws which piece. Each callback is a few lines over pure functions."""

from __future__ import annotations

from dash import Dash

from dmarcview.dashboard.callbacks import alerts, frame, intake, overview, reconcile, reports, sent, sources
from dmarcview.dashboard.callbacks.desk import Desk

__all__ = ["Desk", "register"]


def register(app: Dash, desk: Desk) -> None:
    """Hang all callbacks on the app."""
    for part in (frame, overview, sources, reports, intake, sent, reconcile, alerts):
        part.register(app, desk)
