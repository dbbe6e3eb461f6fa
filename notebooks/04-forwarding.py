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
# # 04 Forwarding
#
# Set forwarders apart: what then still fails is ours.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for

# %%
from dmarcview import query
from dmarcview.analysis import forwarding, identifiers, opening

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## Three ways
#
# *direct*: from your own and approved senders, or passing for your domain. *forwarded*: from a known forwarder, or
# failed while the receiver itself names a detour. *unknown*: failed, from somebody that nobody vouches for.

# %%
records = study.records()
routed = forwarding.split(identifiers.identifiers(records))
rates = forwarding.rates(routed)
rates

# %%
forwarding.failing_picture(forwarding.failing(routed))

# %% [markdown]
# ## What the split changes
#
# The pass rate of your mail, once with forwarded mail in it and once without. The intervals count lumps: mails of a
# day share their fate.

# %%
forwarding.own_rate(routed)

# %% [markdown]
# ## Who forwards, and does DKIM survive?
#
# Forwarding changes the address, so SPF fails; a signature survives unless the forwarder changes the mail.

# %%
forwarders = forwarding.forwarders(routed)
forwarding.survival_picture(forwarders)

# %%
forwarders.head(15)

# %% [markdown]
# ## What is left is ours

# %%
forwarding.ours(routed)

# %% [markdown]
# ## Do the numbers agree?

# %%
assert routed["count"].sum() == records["count"].sum() == rates["messages"].sum()
assert rates["share"].dropna().between(0, 1).all()
assert forwarding.failing(routed)[list(forwarding.ROUTES)].to_numpy().sum() == rates["failed"].sum()
if study.filters.since is None and study.filters.until is None:  # else a day cuts through reports of other zones
    pages = query.daily(study.store, study.filters).sum(numeric_only=True)
    assert routed.loc[routed["route"] == "forwarded", "count"].sum() == pages["forwarded"]
    assert (
        routed.loc[routed["route"] == "unknown", "count"].sum() == pages["unknown_blocked"] + pages["unknown_delivered"]
    )
