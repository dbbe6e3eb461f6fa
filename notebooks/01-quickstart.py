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
# # 01 Quickstart
#
# Open a store, see its shape, ask how complete it is, draw the first chart.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for

# %%
from dataclasses import replace
from datetime import timedelta

from dmarcview import query
from dmarcview.analysis import opening, overview

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## What is there
#
# `study.store` answers questions as pandas frames; `study.filters` says of what. One row of `records` is one record
# of one report, and every rate weighs by its `count`.

# %%
daily = study.store.daily(study.filters)
reports = study.store.reports(study.filters)
query.domains(study.store, study.filters)

# %%
records = study.records()
records[
    ["begin", "submitter", "source_ip", "source_class", "count", "disposition", "dkim_aligned", "spf_aligned"]
].head()

# %% [markdown]
# ## Is it complete?
#
# Reports come one to five days late. A day is complete when the reporters that usually report have done so; a dip
# on a day that is not complete is no dip.

# %%
yesterday = study.today - timedelta(days=1)
asked = replace(study.filters, since=None, until=None)
judged = query.complete_days(study.store, yesterday - timedelta(days=13), yesterday, asked)
judged.days

# %%
overview.waiting(judged.reporters)

# %% [markdown]
# ## What became of the mail

# %%
marked = overview.marked(daily, judged.days, study.today)
overview.outcomes(marked)

# %%
own = [study.store.daily(replace(study.filters, source_class=name)).set_index("day") for name in ("own", "third_party")]
mine = own[0].add(own[1], fill_value=0).astype(int).reset_index()
overview.rates(overview.marked(mine, judged.days, study.today))

# %% [markdown]
# ## Do the numbers agree?

# %%
summary = query.summary(study.store, study.filters)
assert daily["messages"].sum() == summary["messages"]
assert (daily[list(query.OUTCOMES)].sum(axis=1) == daily["messages"]).all()
assert records["count"].sum() == reports["messages"].sum()
assert len(reports) == summary["reports"]
assert len(records) == summary["records"]
assert judged.days["share"].dropna().between(0, 1).all()
