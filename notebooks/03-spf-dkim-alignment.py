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
# # 03 SPF, DKIM and alignment
#
# Why does mail fail? The three identifiers side by side, by selector and by mechanism.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for

# %%
from dmarcview.analysis import alignment, identifiers, opening

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## The three identifiers
#
# DMARC passes when the domain in From is that of a good DKIM signature, or that of an envelope sender for which SPF
# passed. A pass for another domain helps nothing: it is *not aligned*.

# %%
records = study.records()
explained = alignment.explained(identifiers.identifiers(records))
alignment.identities(explained).head(15)

# %% [markdown]
# ## By mechanism
#
# Mail that is carried by SPF alone is lost when it is forwarded; mail that is carried by DKIM alone is lost when
# its key is.

# %%
mechanisms = alignment.mechanisms(explained)
alignment.mechanism_picture(mechanisms)

# %%
mechanisms.head(15)

# %% [markdown]
# ## Why it failed
#
# Mail that failed DMARC: why DKIM did not help (rows), and why SPF did not (columns).

# %%
reasons = alignment.reasons(explained)
alignment.reason_picture(reasons)

# %%
mine = explained[explained["source_class"].isin(alignment.OWN)]
alignment.reasons(mine)

# %% [markdown]
# ## By selector
#
# Every signature counts here, also second ones. `worst` is the result that those which did not pass mostly had, and
# `effect` says how many mails weigh as one: failures that come in lumps make a wide interval.

# %%
selectors = alignment.selectors(records)
alignment.selector_picture(selectors)

# %%
selectors

# %% [markdown]
# ## Do the numbers agree?

# %%
assert explained["count"].sum() == records["count"].sum()
assert mechanisms["messages"].sum() == records["count"].sum()
assert mechanisms["neither"].sum() == alignment.reasons(explained).to_numpy().sum()
assert mechanisms["neither"].sum() == records.loc[~records["dmarc_pass"].fillna(False), "count"].sum()
assert selectors["share"].between(0, 1).all()
assert (selectors["part"] <= selectors["messages"]).all()
