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
# # 09 Reporters
#
# How late and how regular each reporter is, and what is odd about what it sends.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for

# %%
from dmarcview import query
from dmarcview.analysis import opening, reporters

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## Habits
#
# Lateness is counted in hours from the end of a report's period to the receipt of its mail, of mails that were
# believed; files that were imported tell none. `overdue` is how many days a reporter is silent beyond its own habit.

# %%
everything = query.reports(study.store, study.filters, limit=None, apart=True)
reports = reporters.with_lateness(everything)
counted = reports[reports["apart"].isna()]
habits = reporters.habits(counted, study.today)
habits

# %%
reporters.arrived_picture(reporters.arrived(counted))

# %% [markdown]
# ## Gaps

# %%
calendar = reporters.calendar(counted)
reporters.calendar_picture(calendar)

# %%
habits[habits["overdue"] > 0]

# %% [markdown]
# ## Quirks
#
# Days that begin in other zones, periods that are no day, several versions of the format, repeats, and reports with
# a known id and other content.

# %%
quirks = reporters.quirks(reports)
quirks

# %% [markdown]
# ## Do the numbers agree?

# %%
assert habits["messages"].sum() == counted["messages"].sum() == study.store.reports(study.filters)["messages"].sum()
assert habits["reports"].sum() == len(counted)
assert quirks["reports"].sum() == len(reports)
assert quirks[["warned", "unverified"]].stack().between(0, 1).all()
assert (habits["days"] <= habits["span"]).all()
assert (habits["median"].dropna() <= habits["p99"].dropna()).all()
