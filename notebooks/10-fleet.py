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
# # 10 Fleet
#
# Many domains side by side: a league table that does not rank noise, and the outliers that are real.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for

# %%
from dmarcview import query
from dmarcview.analysis import fleet, opening

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## The domains of this store

# %%
domains = query.domains(study.store, study.filters)
own = fleet.own(domains)
fleet.league(own)

# %% [markdown]
# ## A fleet
#
# Of few domains nothing can be said about what is usual. When this store has fewer than eight, the rest of this
# notebook looks at a made-up fleet of eighty.

# %%
many = own if len(own) >= fleet.MANY else fleet.made_up()
print(f"{len(many)} domains, {many['messages'].sum():,} messages" + ("" if many is own else ": a made-up fleet"))
fleet.prior(many)

# %% [markdown]
# ## League table
#
# Three failures of twenty are no worse than thirty of a thousand: each domain is drawn towards the fleet, the more
# the less mail it has. `share` is what is believed, `raw` what was counted, `moved` how many places that makes.

# %%
league = fleet.league(many)
fleet.league_picture(league)

# %%
league.head(15)

# %% [markdown]
# ## Outliers

# %%
fleet.funnel(many)

# %%
outliers = fleet.outliers(many)
outliers[outliers["outlier"]]

# %% [markdown]
# ## Do the numbers agree?

# %%
assert domains["messages"].sum() == query.summary(study.store, study.filters)["messages"]
assert own["messages"].sum() == (domains["own_pass"] + domains["own_fail"]).sum()
assert len(league) == len(many) == len(outliers)
assert league[["raw", "share", "low", "high"]].stack().between(0, 1).all()
assert league["share"].is_monotonic_decreasing
assert sorted(league["place"]) == list(range(1, len(many) + 1))
