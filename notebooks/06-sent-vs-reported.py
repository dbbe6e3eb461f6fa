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
# # 06 Sent against reported
#
# The relay's log beside the reports: coverage by receiver, and what was never sent.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for
RECEIVERS: dict[str, str] = {}  # reporters by the domain of an MX host or of recipients, as [reconcile] receivers

# %%
from dmarcview import query
from dmarcview.analysis import opening, sentlog
from dmarcview.reconcile import reconcile

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## Both sides
#
# A report's messages are laid on the days on which the relay delivered such mail. Days whose reports may still come
# are *open* and count in no rate; receivers that never report are *silent* and stay out, too.

# %%
found = reconcile(study.store, study.filters, RECEIVERS or study.config.reconcile.receivers)
totals = sentlog.totals(found)
print(totals)

# %%
by_day = sentlog.by_day(found.rows)
sentlog.day_picture(by_day)

# %% [markdown]
# ## Coverage by receiver

# %%
sentlog.receiver_picture(found.receivers)

# %%
found.receivers

# %% [markdown]
# ## Signed by us, and what receivers found
#
# `dkim_fail` counts mail that the relay signed and whose report has no good signature of ours: a broken key, or
# something on the way that changes mail.

# %%
sentlog.by_selector(found.rows)

# %%
found.findings[found.findings["code"].isin(["dkim_broken", "spf_missed", "unreported", "more_reported"])].head(20)

# %% [markdown]
# ## Never sent
#
# `bypass`: a host of yours that goes around the relay. `unknown_sender`: passes for your domain and is not named.
# `forged`: passes nothing.

# %%
sentlog.never_sent(found.findings).head(20)

# %% [markdown]
# ## Do the numbers agree?

# %%
done = by_day["coverage"].dropna()
assert done.between(0, 1).all()
assert totals.counted + totals.open + totals.silent == totals.sent
assert by_day["sent"].sum() == totals.sent == found.receivers["sent"].sum()
assert (by_day[["matched", "missing", "awaited", "silent"]].sum(axis=1) == by_day["sent"]).all()
assert totals.reported == found.receivers["reported"].sum()
if study.filters == query.Filters(verified=study.filters.verified):  # of all there is
    assert totals.sent == query.sent_daily(study.store)["delivered"].sum()
    assert totals.reported == study.store.reports(study.filters)["messages"].sum()
