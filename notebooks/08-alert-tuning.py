# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 Alert tuning
#
# False alarms against delay: simulate, look at your own past, and choose the threshold h for your budget.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for
BUDGET = 0.1  # false alarms that you bear, a domain and month
THRESHOLDS = [4, 6, 8, 10, 12, 16]  # h to try
SEED = 7489  # of the simulation

# %%
from dmarcview.alerts import backtest, series
from dmarcview.analysis import opening, tuning

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## The threshold in use
#
# It grows with the number of series, so that a fleet keeps the budget of a small install.

# %%
now = int(study.store.clock())
loaded = series.load(study.store, now // series.DAY, verified=not UNVERIFIED)
domains = len({one.domain for one in loaded.series})
each = len(loaded.series) / max(domains, 1)
used = tuning.METHOD.level(len(loaded.series))
print(f"{len(loaded.series)} series of {domains} domains, {each:.0f} a domain: h = {used:.1f}")

# %% [markdown]
# ## Simulated: false alarms against delay
#
# Made-up mail with late reports, weekends, failures that come in lumps, and days on which an unknown forwarder fails a
# tenth of the mail. A series without a fault that raises an alarm is a false one. Here the truth is known; how like
# your mail it is, you must judge: `World` takes other numbers. `make bench-alerts` scores the method on scenarios that
# it was not tuned on.

# %%
worlds = {
    "5 mails a day, all fail": tuning.World(mail=5, usual=0.02, rho=0.02, fault=0.98, seed=SEED),
    "30 a day, 30 points more fail": tuning.World(mail=30, fault=0.30, seed=SEED),
    "30 a day, 10 points more fail": tuning.World(mail=30, fault=0.10, seed=SEED),
}
curves = {name: tuning.curve(world, THRESHOLDS) for name, world in worlds.items()}
tuning.picture(curves, used)

# %%
curves["30 a day, 10 points more fail"]

# %% [markdown]
# ## Choose
#
# The lowest h that keeps the budget when each series of a domain may raise a false alarm. Series of one domain share
# their mail, so this is on the safe side. Set it as `[alerts] threshold`; 0 is the one in use.

# %%
chosen = {name: tuning.choose(curve, BUDGET, each) for name, curve in curves.items()}
chosen

# %% [markdown]
# ## Your own past
#
# What these thresholds would have opened on this store, each day judged by what had come by then. Here nobody knows the
# truth: look at each incident.

# %%
past = backtest.run(study.store, study.config, now)
print(f"{past.days} days judged, until {past.last_day}")
tuning.lived(past)

# %%
tuning.alarms(past)

# %% [markdown]
# ## Do the numbers agree?

# %%
for curve in curves.values():
    assert curve["found"].between(0, 1).all()
    assert (curve["false_alarms"] >= 0).all()
    assert (curve["delay"].dropna() >= 0).all()
    assert curve["false_alarms"].iloc[-1] <= curve["false_alarms"].iloc[0]
assert all(h is None or h in THRESHOLDS for h in chosen.values())
assert sum(line.used for line in past.lines) in (0, 1)
assert len(past.incidents) == sum(line.incidents for line in past.lines if line.used)
assert (loaded.cells.failed <= loaded.cells.total).all()
